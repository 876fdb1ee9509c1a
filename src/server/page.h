// The chat page's files, carried inside the program (src/server/page/, docs/page.md).
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace zaya::server {

struct Asset {
  std::string_view path;          // as requested: "/", "/js/main.js", "/lib/fonts/KaTeX_Main-Regular.woff2"
  std::string_view content_type;  // complete, with the charset
  std::string_view etag;          // with its quotes; of the uncompressed content
  std::span<const std::byte> bytes;
  bool gzip;  // the bytes are gzip: send "Content-Encoding: gzip" with them
};

// What the server sends with every asset as Content-Security-Policy. The page runs nothing that is not one of its own
// files, asks nobody but the server it came from, and DOMPurify is the only way by which text becomes markup.
inline constexpr std::string_view kPageSecurityPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types dompurify";

// All assets, in order of their paths.
std::span<const Asset> assets();

// The asset of this exact path (no query, not percent-decoded), or null.
const Asset* find_asset(std::string_view path);

}  // namespace zaya::server
