#include "reasoning/local_generator.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace zaya::reasoning {

// One request. Written on the engine's thread only, but for `ticket`.
struct LocalGenerator::Running {
  Job job;
  bool inside = false;  // the prompt ends inside the reasoning
  std::shared_ptr<engine::Ticket> ticket;
  bool cancel_wanted = false;

  bool started = false;
  bool over = false;  // a budget is reached; what still comes is thrown away
  int64_t seen = 0;   // tokens
  bool thinking = false, closed = false, forced = false;
  std::vector<text::TokenId> reasoning, answer;
};

namespace {

bool ends_inside(std::string_view prompt, const engine::Thinking& thinking) {
  const size_t end = prompt.find_last_not_of(" \t\r\n");
  return end != std::string_view::npos && prompt.substr(0, end + 1).ends_with(thinking.open_tag);
}

}  // namespace

Result<std::vector<text::TokenId>> prompt_tokens(const Prompt& prompt, const text::Tokenizer& tokenizer,
                                                 const text::ChatTemplate& chat_template,
                                                 const engine::Thinking& thinking, bool& inside) {
  // Tails stand in the message as marks while the template is rendered, and their tokens take the marks' places.
  std::string mark = "[tail";
  const auto occurs = [&] {
    return std::any_of(prompt.user.begin(), prompt.user.end(),
                       [&](const Segment& segment) { return segment.text.find(mark) != std::string::npos; });
  };
  while (occurs()) mark += '*';
  std::string message;
  std::vector<std::pair<std::string, const Segment*>> marks;
  for (const Segment& segment : prompt.user) {
    if (!segment.is_tail || segment.tokens.empty()) {
      message += segment.text;
    } else {
      marks.emplace_back(fmt::format("{}{}]", mark, marks.size()), &segment);
      message += marks.back().first;
    }
  }
  text::Json messages = text::Json::array();
  messages.push_back({{"role", "user"}, {"content", message}});
  ZAYA_ASSIGN(
      const std::string rendered,
      chat_template.render({{"messages", messages}, {"add_generation_prompt", true}, {"enable_thinking", true}}));
  inside = ends_inside(rendered, thinking);

  std::vector<text::TokenId> tokens;
  const auto append_text = [&](std::string_view text) {
    if (text.empty()) return;
    const auto encoded = tokenizer.encode(text);
    tokens.insert(tokens.end(), encoded.begin(), encoded.end());
  };
  const auto append_tail = [&](const Segment& segment) {
    if (segment.tokens.empty()) {
      const auto encoded = tokenizer.encode(segment.text, {.parse_special = false});
      tokens.insert(tokens.end(), encoded.begin(), encoded.end());
    }
    // A trace may hold a tag or the end of a turn; in a prompt it must not act as one.
    std::copy_if(segment.tokens.begin(), segment.tokens.end(), std::back_inserter(tokens),
                 [&](text::TokenId token) { return !tokenizer.is_special(token); });
  };
  std::string_view rest = rendered;
  for (const auto& [name, segment] : marks) {
    const size_t at = rest.find(name);
    if (at == std::string_view::npos) {
      return Status(Code::unsupported, "the chat template changes the text of messages, so that tails get lost in it");
    }
    append_text(rest.substr(0, at));
    append_tail(*segment);
    rest.remove_prefix(at + name.size());
  }
  append_text(rest);
  if (!prompt.continuation.empty() && !inside) {
    append_text(thinking.open_tag + "\n");
    inside = true;
  }
  for (const Segment& segment : prompt.continuation) append_tail(segment);
  return tokens;
}

LocalGenerator::LocalGenerator(engine::Service& service, const text::ChatTemplate& chat_template, std::string name)
    : service_(service), chat_template_(chat_template), name_(std::move(name)), capacity_(256) {}

LocalGenerator::~LocalGenerator() {
  std::unique_lock lock(mutex_);
  for (auto& [id, running] : running_) {
    if (running->ticket != nullptr) running->ticket->cancel();
  }
  changed_.wait(lock, [this] { return running_.empty(); });
}

int64_t LocalGenerator::context() const { return service_.engine().model().config().max_positions; }

std::string LocalGenerator::decode(std::span<const text::TokenId> tokens) const {
  return tokenizer().decode(tokens, /*skip_special=*/true);
}

std::string LocalGenerator::describe() const {
  text::Json json = {{"kind", "local"}, {"model", name_}, {"context", context()}, {"counts", "tokens"}};
  return json.dump(-1, ' ', false, text::Json::error_handler_t::replace);
}

Result<std::vector<text::TokenId>> LocalGenerator::tokens_of(const Prompt& prompt, bool& inside) const {
  return prompt_tokens(prompt, tokenizer(), chat_template_, thinking_, inside);
}

Status LocalGenerator::submit(Job job) {
  auto running = std::make_shared<Running>();
  engine::Request request;
  ZAYA_ASSIGN(request.prompt, tokens_of(job.prompt, running->inside));
  running->thinking = running->inside;
  request.sampling.temperature = job.sampling.temperature;
  request.sampling.top_p = job.sampling.top_p;
  request.sampling.top_k = job.sampling.top_k;
  request.sampling.min_p = job.sampling.min_p;
  request.sampling.seed = job.seed;
  request.stop_tokens = service_.engine().model().config().eos_tokens;
  request.thinking = thinking_;
  request.thinking.starts_inside = running->inside;
  const std::optional<text::TokenId> close = tokenizer().id_of(thinking_.close_tag);
  if (job.answer_budget == 0) {
    // Nothing behind the reasoning is wanted: its end is the end.
    request.max_tokens = job.thinking_budget + 1;
    if (close.has_value()) request.stop_tokens.push_back(*close);
  } else {
    if (job.close == Close::force) request.thinking.budget = job.thinking_budget;
    // The tags of a forced close and the line breaks round them: a handful of tokens.
    constexpr int64_t kTags = 16;
    request.max_tokens = job.thinking_budget + job.answer_budget + kTags;
  }
  if (job.max_new_tokens >= 0) request.max_tokens = std::min(request.max_tokens, job.max_new_tokens);
  const int64_t id = job.id;
  running->job = std::move(job);
  running->job.prompt = {};

  {
    const std::lock_guard lock(mutex_);
    running_[id] = running;
  }
  Result<std::shared_ptr<engine::Ticket>> ticket = service_.submit(
      std::move(request), [this, running](const engine::Event& event) { take_token(*running, event); },
      [this, running](const engine::Outcome& outcome) { take_outcome(*running, outcome); });
  const std::lock_guard lock(mutex_);
  if (!ticket.ok()) {
    running_.erase(id);
    return ticket.status();
  }
  running->ticket = std::move(ticket).value();
  if (running->cancel_wanted) running->ticket->cancel();
  return Status();
}

void LocalGenerator::cancel(int64_t id) {
  const std::lock_guard lock(mutex_);
  const auto found = running_.find(id);
  if (found == running_.end()) return;
  found->second->cancel_wanted = true;
  if (found->second->ticket != nullptr) found->second->ticket->cancel();
}

// Sorts a token to its side, and ends the request at a budget that the engine does not know.
void LocalGenerator::take_token(Running& running, const engine::Event& event) {
  const text::TokenId token = event.sampled.token;
  const std::lock_guard lock(mutex_);
  if (running.over) return;
  const std::string_view text = tokenizer().token(token);
  if (token >= 0) {
    const auto& stops = service_.engine().model().config().eos_tokens;
    const bool stop = !event.forced && std::find(stops.begin(), stops.end(), token) != stops.end();
    if (event.forced) {
      running.forced = true;
      running.thinking = false;
    } else if (running.thinking && text == thinking_.close_tag) {
      running.thinking = false;
      running.closed = true;
    } else if (!running.thinking && text == thinking_.open_tag && running.answer.empty()) {
      running.thinking = true;
    } else if (!stop && running.thinking) {
      running.reasoning.push_back(token);
    } else if (!stop) {
      running.answer.push_back(token);
    }
  }
  const Job& job = running.job;
  const auto count = [](const std::vector<text::TokenId>& tokens) { return static_cast<int64_t>(tokens.size()); };
  if ((count(running.reasoning) >= job.thinking_budget && running.thinking &&
       (job.close == Close::stop || job.answer_budget == 0)) ||
      (job.answer_budget > 0 && count(running.answer) >= job.answer_budget)) {
    running.over = true;
    running.cancel_wanted = true;
    if (running.ticket != nullptr) running.ticket->cancel();
  }
  Event update{.job = job.id, .new_tokens = ++running.seen};
  if (!running.started) {
    running.started = true;
    events_.push_back({.job = job.id, .kind = Event::Kind::started});
  }
  for (const auto& piece : event.pieces) {
    update.reasoning = piece.reasoning;
    update.text = piece.text;
    events_.push_back(update);
  }
  if (event.pieces.empty()) events_.push_back(update);
  changed_.notify_one();
}

void LocalGenerator::take_outcome(Running& running, const engine::Outcome& outcome) {
  auto trace = std::make_shared<Trace>();
  const std::lock_guard lock(mutex_);
  const auto side = [&](std::vector<text::TokenId>& tokens) {
    Text text{.text = decode(tokens), .count = static_cast<int64_t>(tokens.size())};
    text.tokens = std::move(tokens);
    return text;
  };
  // Tags, forced tokens and the stop token are new tokens of neither side.
  trace->new_tokens = running.over ? running.seen : static_cast<int64_t>(outcome.tokens.size());
  trace->wasted_tokens = static_cast<int64_t>(outcome.tokens.size()) - trace->new_tokens;
  trace->closed = running.closed;
  trace->reasoning = side(running.reasoning);
  trace->answer = side(running.answer);
  switch (outcome.finish) {
    case engine::Finish::stop: trace->end = End::stop; break;
    case engine::Finish::cancelled: trace->end = running.over ? End::length : End::cancelled; break;
    case engine::Finish::failed:
      trace->end = End::failed;
      trace->failure = outcome.failure.to_string();
      break;
    default: trace->end = End::length;
  }
  trace->prompt_tokens = outcome.prompt_tokens;
  trace->cached_prompt_tokens = outcome.cached_prompt_tokens;
  trace->queue_seconds = outcome.queue_seconds;
  trace->prefill_seconds = outcome.prefill_seconds;
  trace->decode_seconds = outcome.decode_seconds;
  const int64_t id = running.job.id;
  events_.push_back({.job = id, .kind = Event::Kind::done, .new_tokens = trace->new_tokens, .trace = std::move(trace)});
  running_.erase(id);
  changed_.notify_all();
}

std::vector<Event> LocalGenerator::wait(double seconds) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return !events_.empty(); });
  return std::exchange(events_, {});
}

}  // namespace zaya::reasoning
