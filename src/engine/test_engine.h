// Engines and requests for tests: a random model of 64 tokens from the goldens, whose words mean nothing; its
// determinism is what counts.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/test_tokenizer.h"
#include "ops/backend.h"

namespace zaya::engine {

inline std::unique_ptr<Engine> make_engine(const EngineOptions& options = {}, const std::string& name = "conv_3_4") {
  auto checkpoint = checkpoint::Checkpoint::open(std::filesystem::path(ZAYA_SOURCE_DIR) / "src/model/testdata" / name);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status().to_string();
  auto model =
      model::Model::load(std::move(checkpoint).value(), std::move(ops::make_backend("cpu", {.threads = 2})).value());
  EXPECT_TRUE(model.ok()) << model.status().to_string();
  return std::make_unique<Engine>(std::move(model).value(), test_tokenizer(), options);
}

// Prompts of one seed begin alike, those of different seeds do not.
inline Request request_of(int64_t prompt_tokens, int64_t max_tokens, uint64_t seed) {
  Request request;
  for (int64_t i = 0; i < prompt_tokens; ++i)
    request.prompt.push_back(static_cast<text::TokenId>((i * 7 + i * i / 64 + static_cast<int64_t>(seed)) % 60));
  request.max_tokens = max_tokens;
  request.sampling.seed = seed;
  return request;
}

}  // namespace zaya::engine
