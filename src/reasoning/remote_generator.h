// Generates on OpenAI-compatible servers (chat completions, streamed): vLLM, SGLang, llama-server, zaya serve.
//
// Work goes to the server with the least outstanding of it. A server that refuses, stalls or breaks off rests for a
// while that doubles with each failure, and its work moves to the others; one attempt's tokens count, those of failed
// attempts are `wasted`. Everything happens in wait(), on the caller's thread.
//
// What servers cannot do is done from here: a rollout that reaches β is cut off, and asked for its answer by a question
// of its own (Prompts, section close). carry = resume needs the inside of a turn and is refused.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "reasoning/generator.h"
#include "text/tokenizer.h"

namespace zaya::reasoning {

struct RemoteSettings {
  std::vector<std::string> endpoints;  // "http://host:port/v1"
  std::string model;                   // empty = the first that the server lists
  std::string key;                     // sent as a bearer token; empty = none
  std::string extra;                   // a JSON object whose fields are added to every request; may be empty
  int64_t per_endpoint = 64;           // requests under way at one server
  double stall_seconds = 600;          // without a byte, after which a server counts as stuck
  double connect_seconds = 10;
  int64_t attempts = 8;       // at one job, over all servers; answers of 429 do not count
  double rest_seconds = 0.5;  // after a first failure; doubled by each further one, up to the next
  double longest_rest_seconds = 30;
  // Counts and cuts exactly when it is the servers' model's. Without it, tokens are estimated from characters.
  std::optional<text::Tokenizer> tokenizer;
};

class RemoteGenerator : public Generator {
 public:
  // invalid_argument: no endpoint, an address that is no http(s) one, extra that is no JSON object.
  static Result<std::unique_ptr<RemoteGenerator>> create(RemoteSettings settings);
  ~RemoteGenerator() override;

  Status submit(Job job) override;
  void cancel(int64_t id) override;
  std::vector<Event> wait(double seconds) override;
  int64_t capacity() const override;
  std::string decode(std::span<const text::TokenId> tokens) const override;
  std::string describe() const override;

  // Jobs that each endpoint finished, in the order of the settings.
  std::vector<int64_t> finished_by_endpoint() const;

 private:
  struct Impl;
  explicit RemoteGenerator(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace zaya::reasoning
