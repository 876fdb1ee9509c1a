// What the program carries of the page (src/server/page/embed.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "server/page.h"

namespace zaya::server {
namespace {

std::string text_of(const Asset& asset) {
  return std::string(reinterpret_cast<const char*>(asset.bytes.data()), asset.bytes.size());
}

TEST(PageAssets, AreFoundByTheirExactPath) {
  if (assets().empty()) GTEST_SKIP() << "built without the page";
  for (const Asset& asset : assets()) EXPECT_EQ(find_asset(asset.path), &asset) << asset.path;
  EXPECT_TRUE(
      std::is_sorted(assets().begin(), assets().end(), [](const Asset& a, const Asset& b) { return a.path < b.path; }));
  for (const char* path : {"", "//", "/index.html", "/js/", "/js/main.js/", "/JS/main.js", "/js/../js/main.js", "/~"}) {
    EXPECT_EQ(find_asset(path), nullptr) << path;
  }
}

TEST(PageAssets, HaveTheBytesTheTableSays) {
  if (assets().empty()) GTEST_SKIP() << "built without the page";
  const Asset* document = find_asset("/");
  ASSERT_NE(document, nullptr);
  EXPECT_FALSE(document->gzip);
  EXPECT_EQ(document->content_type, "text/html; charset=utf-8");
  EXPECT_THAT(text_of(*document), testing::StartsWith("<!doctype html>"));
  EXPECT_THAT(text_of(*document), testing::EndsWith("</html>\n"));
  for (const Asset& asset : assets()) {
    EXPECT_THAT(std::string(asset.etag), testing::MatchesRegex("\"[0-9a-f]{24}\"")) << asset.path;
    ASSERT_GT(asset.bytes.size(), 20U) << asset.path;
    const std::string text = text_of(asset);
    EXPECT_EQ(text.starts_with("\x1f\x8b\x08"), asset.gzip) << asset.path;
    EXPECT_EQ(text.starts_with("wOF2"), asset.path.ends_with(".woff2")) << asset.path;
  }
}

// Nothing in the document needs what the policy forbids, and all it refers to is carried.
TEST(PageAssets, DocumentKeepsToThePolicy) {
  if (assets().empty()) GTEST_SKIP() << "built without the page";
  const std::string text = text_of(*find_asset("/"));
  for (const char* forbidden : {"<style", " style=", " onclick=", "javascript:", "http://", "https://", "<base"}) {
    EXPECT_EQ(text.find(forbidden), std::string::npos) << forbidden;
  }
  int references = 0;
  for (const std::string attribute : {" src=\"", " href=\""}) {
    for (size_t at = text.find(attribute); at != std::string::npos; at = text.find(attribute, at + 1)) {
      const size_t begin = at + attribute.size();
      const std::string target = text.substr(begin, text.find('"', begin) - begin);
      if (target.starts_with('#')) continue;
      EXPECT_NE(find_asset("/" + target), nullptr) << target;
      ++references;
    }
  }
  EXPECT_GT(references, 8);
  EXPECT_EQ(kPageSecurityPolicy.find("unsafe"), std::string_view::npos);
}

}  // namespace
}  // namespace zaya::server
