// Generates with the engine in this process. Requests whose prompts begin alike share that beginning inside the
// service: N rollouts of one problem are one prefill, and aggregation prompts compute each shared run of tails once.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/service.h"
#include "reasoning/generator.h"
#include "text/chat_template.h"

namespace zaya::reasoning {

// The tokens of a prompt: the template's text and ours as the tokenizer has them, tails as the tokens they are, without
// special ones. Sets whether the prompt ends inside the reasoning. Errors: those of the template; unsupported where it
// changes the text of messages.
Result<std::vector<text::TokenId>> prompt_tokens(const Prompt& prompt, const text::Tokenizer& tokenizer,
                                                 const text::ChatTemplate& chat_template,
                                                 const engine::Thinking& thinking, bool& inside);

class LocalGenerator : public Generator {
 public:
  // `service` and `chat_template` must outlive this. `name` says in journals what answered.
  LocalGenerator(engine::Service& service, const text::ChatTemplate& chat_template, std::string name);
  ~LocalGenerator() override;  // cancels what runs and waits for it

  Status submit(Job job) override;
  void cancel(int64_t id) override;
  std::vector<Event> wait(double seconds) override;
  int64_t capacity() const override { return capacity_; }
  int64_t context() const override;
  std::string decode(std::span<const text::TokenId> tokens) const override;
  std::string describe() const override;

  // prompt_tokens() with this generator's tokenizer and template.
  Result<std::vector<text::TokenId>> tokens_of(const Prompt& prompt, bool& inside) const;

 private:
  struct Running;

  const text::Tokenizer& tokenizer() const { return service_.engine().tokenizer(); }
  void take_token(Running& running, const engine::Event& event);
  void take_outcome(Running& running, const engine::Outcome& outcome);

  engine::Service& service_;
  const text::ChatTemplate& chat_template_;
  const std::string name_;
  engine::Thinking thinking_;  // the tags
  int64_t capacity_;

  std::mutex mutex_;  // guards what follows; the engine's thread writes, the owner reads
  std::condition_variable changed_;
  std::map<int64_t, std::shared_ptr<Running>> running_;
  std::vector<Event> events_;
};

}  // namespace zaya::reasoning
