#!/usr/bin/env python3
"""Collects what the page consists of and writes it as one C++ source that the linker carries into the program.

    embed.py --output DIRECTORY      writes page_assets.cc, page_assets.bin and page_assets.d (what they depend on)
    embed.py --list                  prints path, type, size and size as served

Our own files stand beside this script. KaTeX, marked and DOMPurify come from Debian's packages (LIBRARIES below), so
no library is committed here, and security updates are the distribution's. Another distribution can put the same files
under a directory of its own and name it with --root. tools/page/mock_server.py serves the same list.
"""

import argparse
import gzip
import hashlib
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent

# Served path below "/": where it may be, the package that has it. A name ending in "/*.woff2" stands for its matches.
LIBRARIES = [
    ("lib/katex.js", ["usr/share/javascript/katex/katex.min.js", "usr/share/javascript/katex/katex.js"], "libjs-katex"),
    ("lib/katex.css", ["usr/share/javascript/katex/katex.min.css"], "libjs-katex"),
    ("lib/fonts/", ["usr/share/javascript/katex/fonts/*.woff2", "usr/share/fonts/truetype/katex/*.woff2"], "fonts-katex"),
    ("lib/marked.js", ["usr/share/javascript/marked/marked.umd.min.js", "usr/share/javascript/marked/marked.min.js"],
     "libjs-marked"),
    ("lib/purify.js", ["usr/share/nodejs/dompurify/dist/purify.min.js"], "node-dompurify"),
]
LICENCES = [
    ("zaya.cpp", [HERE.parents[2] / "LICENSE"]),
    ("KaTeX and its fonts", ["usr/share/doc/fonts-katex/copyright", "usr/share/doc/libjs-katex/copyright"]),
    ("marked", ["usr/share/doc/libjs-marked/copyright"]),
    ("DOMPurify (used under the Apache License 2.0, whose text stands above)", ["usr/share/doc/node-dompurify/copyright"]),
]
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}
OWN = ["*.html", "*.svg", "*.webmanifest", "css/*.css", "js/*.js", "js/*/*.js"]


SOURCE = r"""// Written by src/server/page/embed.py: not to be edited.
#include <algorithm>
#include <array>

#include "server/page.h"

// The assembler copies the bytes, so the compiler has nothing to read.
#if defined(__APPLE__)
asm(".const_data\n.globl _zaya_page_bytes\n_zaya_page_bytes:\n.incbin \"@BLOB@\"\n.text\n");
#else
asm(".pushsection .rodata\n.globl zaya_page_bytes\nzaya_page_bytes:\n.incbin \"@BLOB@\"\n.popsection\n");
#endif
extern "C" const std::byte zaya_page_bytes[];

namespace zaya::server {
namespace {

// In order of their paths.
const std::array<Asset, @COUNT@> kAssets{{
@ROWS@
}};

}  // namespace

std::span<const Asset> assets() { return kAssets; }

const Asset* find_asset(std::string_view path) {
  const auto found = std::lower_bound(kAssets.begin(), kAssets.end(), path,
                                      [](const Asset& asset, std::string_view key) { return asset.path < key; });
  return found != kAssets.end() && found->path == path ? &*found : nullptr;
}

}  // namespace zaya::server
"""


class Asset:
    """One file of the page: `path` begins with "/"; `bytes` are as the server sends them, compressed when `gzip`."""

    def __init__(self, path, plain, source):
        self.path = path
        self.type = TYPES[pathlib.PurePosixPath(path).suffix or ".txt"] if path != "/" else TYPES[".html"]
        self.plain = plain
        self.source = source
        # The document itself stays as it is, for curl and for people who look; fonts are compressed already.
        small = gzip.compress(plain, 9, mtime=0)
        self.gzip = path != "/" and len(small) < 0.9 * len(plain)
        self.bytes = small if self.gzip else plain
        self.etag = '"' + hashlib.sha256(plain).hexdigest()[:24] + '"'


def find(root, patterns, package):
    for pattern in patterns:
        found = [pattern] if isinstance(pattern, pathlib.Path) and pattern.exists() else \
            sorted(root.glob(pattern)) if not isinstance(pattern, pathlib.Path) else []
        if found:
            return found
    tried = ", ".join(str(root / pattern) for pattern in patterns)
    raise SystemExit(f"embed.py: {package} is not installed: there is none of {tried}\n"
                     f"hint: apt-get install {package}; or pass --root with a directory that has these paths")


def collect(root=pathlib.Path("/")):
    """All assets, ordered by path."""
    assets = []
    for pattern in OWN:
        for file in sorted(HERE.glob(pattern)):
            name = file.relative_to(HERE).as_posix()
            assets.append(Asset("/" if name == "index.html" else "/" + name, file.read_bytes(), file))
    for path, patterns, package in LIBRARIES:
        for file in find(root, patterns, package):
            assets.append(Asset("/" + (path + file.name if path.endswith("/") else path), file.read_bytes(), file))
    text = "The page of zaya.cpp and the libraries that are part of it.\n"
    for title, patterns in LICENCES:
        file = find(root, patterns, title)[0]
        text += f"\n\n{'=' * 100}\n{title}\n{'=' * 100}\n\n{file.read_text(encoding='utf-8')}"
    assets.append(Asset("/licenses", text.encode(), HERE / "embed.py"))
    return sorted(assets, key=lambda asset: asset.path)


def write(assets, directory):
    directory.mkdir(parents=True, exist_ok=True)
    blob, rows = bytearray(), []
    for asset in assets:
        rows.append(f'    {{"{asset.path}", "{asset.type}", R"({asset.etag})", '
                    f"{{zaya_page_bytes + {len(blob)}, {len(asset.bytes)}}}, {str(asset.gzip).lower()}}},")
        blob += asset.bytes
    (directory / "page_assets.bin").write_bytes(blob)
    (directory / "page_assets.cc").write_text(SOURCE.replace("@BLOB@", str(directory / "page_assets.bin"))
                                              .replace("@COUNT@", str(len(rows))).replace("@ROWS@", "\n".join(rows)))
    sources = sorted({str(asset.source) for asset in assets} | {str(HERE / "embed.py")})
    (directory / "page_assets.d").write_text(
        f"{directory / 'page_assets.cc'}: " + " ".join(source.replace(" ", "\\ ") for source in sources) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("/"), help="where usr/share/… is found")
    parser.add_argument("--empty", action="store_true", help="a program without the page")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    assets = [] if arguments.empty else collect(arguments.root)
    if arguments.list:
        for asset in assets:
            print(f"{asset.path:40} {asset.type:32} {len(asset.plain):8} {len(asset.bytes):8}")
        print(f"{'':73} {sum(len(asset.plain) for asset in assets):8} {sum(len(asset.bytes) for asset in assets):8}")
    if arguments.output:
        write(assets, arguments.output.resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
