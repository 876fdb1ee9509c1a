#include "text/bpe.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "text/bpe_merge.h"

namespace zaya::text {
namespace {

// BPE as its definition says it: of all pairs the least rank, of equal ones the leftmost. Quadratic.
std::vector<TokenId> merge_by_definition(const MergeTable& merges, std::vector<TokenId> ids) {
  for (;;) {
    MergeTable::Merge best;
    size_t where = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const MergeTable::Merge merge = merges.find(ids[i], ids[i + 1]);
      if (merge.rank < best.rank) best = merge, where = i;
    }
    if (best.rank == MergeTable::Merge::kNone) return ids;
    ids[where] = best.result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(where) + 1);
  }
}

// A vocabulary of random strings over few letters with all merges that lead to them, in random order: ranks that no
// training would give, where later merges may well have lower ranks than those they build on.
struct RandomModel {
  explicit RandomModel(unsigned seed, const std::vector<std::string>& letters) {
    std::mt19937 random(seed);
    TokenTable table;
    std::vector<std::string> tokens;
    for (const std::string& letter : letters) tokens.push_back(letter);
    std::set<std::string> known(tokens.begin(), tokens.end());
    std::vector<std::pair<std::string, std::string>> pairs;
    while (tokens.size() < 120) {
      const std::string& left = tokens[random() % tokens.size()];
      const std::string& right = tokens[random() % tokens.size()];
      if (left.size() + right.size() > 12 || !known.insert(left + right).second) continue;
      tokens.push_back(left + right);
    }
    for (const std::string& left : tokens) {
      for (const std::string& right : tokens) {
        if (known.count(left + right) != 0) pairs.emplace_back(left, right);
      }
    }
    std::shuffle(pairs.begin(), pairs.end(), random);
    for (size_t i = 0; i < tokens.size(); ++i) {
      EXPECT_EQ(table.add(static_cast<TokenId>(i), tokens[i]), TokenTable::Added::ok);
    }
    model = BpeModel::create(table, {}).value();
    for (size_t i = 0; i < pairs.size(); ++i) {
      const auto& [left, right] = pairs[i];
      EXPECT_EQ(model->add_merge(left, right, static_cast<uint32_t>(i)), BpeModel::MergeError::none);
      merges.add(*table.find(left), *table.find(right), {static_cast<uint32_t>(i), *table.find(left + right)});
    }
  }
  std::optional<BpeModel> model;
  MergeTable merges;
};

TEST(Bpe, MergesInTheOrderOfItsDefinition) {
  const std::vector<std::vector<std::string>> alphabets = {
      {"a", "b"}, {"a", "b", "c", "é"}, {"▁", "x", "的", "\U0001F600"}};
  for (unsigned seed = 0; seed < 60; ++seed) {
    const std::vector<std::string>& letters = alphabets[seed % alphabets.size()];
    const RandomModel random_model(seed, letters);
    std::mt19937 random(seed + 1000);
    for (int text = 0; text < 20; ++text) {
      std::string word;
      std::vector<TokenId> symbols;
      const size_t length = 1 + random() % (text % 2 == 0 ? 20 : 200);  // short words and long ones merge differently
      for (size_t i = 0; i < length; ++i) {
        const size_t letter = random() % letters.size();
        word += letters[letter];
        symbols.push_back(static_cast<TokenId>(letter));
      }
      const std::vector<TokenId> expected = merge_by_definition(random_model.merges, symbols);
      std::vector<TokenId> ids;
      random_model.model->encode(word, ids);
      EXPECT_EQ(ids, expected) << word;
      ids.clear();
      BpeMerger(random_model.merges).merge(symbols, ids);
      EXPECT_EQ(ids, expected) << word;
    }
  }
}

TEST(MergeTable, FindsWhatWasAdded) {
  MergeTable table;
  EXPECT_EQ(table.find(0, 0).rank, MergeTable::Merge::kNone);
  std::mt19937 random(1);
  std::vector<std::pair<TokenId, TokenId>> pairs;
  for (uint32_t i = 0; i < 5000; ++i) {
    pairs.emplace_back(random() % (kMaxTokenId + 1), random() % 50);
    table.add(pairs[i].first, pairs[i].second, {i, static_cast<TokenId>(i)});
  }
  int replaced = 0;
  for (uint32_t i = 0; i < 5000; ++i) {
    const MergeTable::Merge merge = table.find(pairs[i].first, pairs[i].second);
    EXPECT_GE(merge.rank, i);
    EXPECT_EQ(pairs[merge.rank], pairs[i]);
    replaced += merge.rank != i;
    EXPECT_EQ(table.find(pairs[i].first, 50 + pairs[i].second).rank, MergeTable::Merge::kNone);
  }
  EXPECT_LT(replaced, 5);
  table.add(7, 8, {1, 2});
  table.add(7, 8, {3, 4});
  EXPECT_EQ(table.find(7, 8).rank, 3u);
  EXPECT_EQ(table.find(7, 8).result, 4);
}

TEST(TokenTable, FindsByTextAndId) {
  TokenTable table;
  EXPECT_EQ(table.find("a"), std::nullopt);
  EXPECT_EQ(table.text(0), "");
  for (TokenId id = 0; id < 2000; ++id) {
    EXPECT_EQ(table.add(id * 3, "token " + std::to_string(id)), TokenTable::Added::ok);
  }
  EXPECT_EQ(table.add(1, "token 7"), TokenTable::Added::duplicate_text);
  EXPECT_EQ(table.add(3, "new"), TokenTable::Added::duplicate_id);
  EXPECT_EQ(table.find("new"), std::nullopt);
  EXPECT_EQ(table.add(1, ""), TokenTable::Added::ok);
  EXPECT_EQ(table.find(""), 1);
  for (TokenId id = 0; id < 2000; ++id) {
    const std::string text = "token " + std::to_string(id);
    EXPECT_EQ(table.find(text), id * 3);
    EXPECT_EQ(table.find(text.substr(0, 4), text.substr(4)), id * 3);
    EXPECT_EQ(table.text(id * 3), text);
    EXPECT_FALSE(table.contains(id * 3 + 2));
  }
  EXPECT_EQ(table.end_id(), 1999 * 3 + 1);
  EXPECT_EQ(table.count(), 2001u);
}

}  // namespace
}  // namespace zaya::text
