#include "reasoning/remote_generator.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <list>
#include <map>
#include <random>

#include "nlohmann/json.hpp"
#include "reasoning/http.h"
#include "reasoning/remote_text.h"

namespace zaya::reasoning {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kLongestBody = size_t{64} << 20;  // of one answer, all events together
constexpr size_t kLongestError = 8192;
constexpr double kCharactersPerToken = 3.5;  // English with formulas, until the servers' own counts are known
constexpr int64_t kBusyAnswers = 200;        // of 429 to one job, before it fails

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Endpoint {
  std::string url;  // without a slash at its end
  std::string model;
  int64_t under_way = 0, finished = 0;
  int64_t failures = 0;  // in a row
  double rests_until = 0;
  std::string dead;  // why it is not asked any more; empty = alive
};

// One job, over all its attempts.
struct Work {
  explicit Work(Job the_job) : job(std::move(the_job)) {}
  Job job;
  double not_before = 0;
  int64_t attempts = 0, busy_answers = 0;
  int64_t new_tokens = 0, wasted = 0;
  int64_t prompt_tokens = 0, cached_prompt_tokens = 0;
  bool closing = false;  // the reasoning is done, its answer is asked for
  Text reasoning;        // … and this is it
  double submitted = 0, sent = 0, first_byte = 0;

  // The attempt under way.
  CURL* request = nullptr;
  curl_slist* headers = nullptr;
  size_t endpoint = 0;
  std::string body, error_body, whole_body;
  EventStream events;
  std::optional<RemoteText> text;
  size_t received = 0;
  int64_t completion_tokens = -1, prompt_said = -1, cached_said = -1;
  std::string finish, broken;
  bool done_said = false, cut = false, streamed = false;
};

}  // namespace

struct RemoteGenerator::Impl {
  RemoteSettings settings;
  std::vector<Endpoint> endpoints;
  CURLM* multi = nullptr;
  std::list<std::shared_ptr<Work>> waiting;
  std::map<CURL*, std::shared_ptr<Work>> running;
  std::vector<Event> events;
  std::mt19937_64 random{std::random_device{}()};
  double ratio = kCharactersPerToken;
  double seen_characters = 0, seen_tokens = 0;

  ~Impl();
  const text::Tokenizer* tokenizer() const { return settings.tokenizer.has_value() ? &*settings.tokenizer : nullptr; }
  void ask_for_models();
  std::optional<size_t> choose(double time) const;
  void send_waiting();
  bool send(const std::shared_ptr<Work>& work, size_t endpoint);
  void receive(Work& work, std::string_view bytes);
  Status take(Work& work, std::string_view payload);
  void remove(Work& work);
  void settle(const std::shared_ptr<Work>& work, CURLcode code);
  void succeed(const std::shared_ptr<Work>& work);
  void rest(Endpoint& endpoint, double at_least);
  void again(const std::shared_ptr<Work>& work, const std::string& why);
  void finish(Work& work, End end, const std::string& failure, Text answer);
  static size_t write(char* data, size_t size, size_t count, void* work);
};

namespace {

bool valid_address(const std::string& url) {
  return (url.starts_with("http://") || url.starts_with("https://")) && url.size() < 2048 &&
         url.find_first_of(" \t\r\n") == std::string::npos && url.find("://") + 3 < url.size();
}

// Without a name and a password, for journals.
std::string public_address(const std::string& url) {
  const size_t host = url.find("://") + 3, end = std::min(url.find('/', host), url.size());
  const size_t at = url.rfind('@', end);
  return at == std::string::npos || at < host ? url : url.substr(0, host) + url.substr(at + 1);
}

}  // namespace

RemoteGenerator::Impl::~Impl() {
  for (auto& [request, work] : running) {
    curl_multi_remove_handle(multi, request);
    curl_easy_cleanup(request);
    curl_slist_free_all(work->headers);
  }
  if (multi != nullptr) curl_multi_cleanup(multi);
}

RemoteGenerator::RemoteGenerator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RemoteGenerator::~RemoteGenerator() = default;

Result<std::unique_ptr<RemoteGenerator>> RemoteGenerator::create(RemoteSettings settings) {
  if (settings.endpoints.empty()) return Status(Code::invalid_argument, "there is no endpoint");
  if (!settings.extra.empty() && !Json::parse(settings.extra, nullptr, false).is_object()) {
    return Status(Code::invalid_argument, "the extra fields of requests are no JSON object");
  }
  auto impl = std::make_unique<Impl>();
  for (std::string url : settings.endpoints) {
    while (url.ends_with('/')) url.pop_back();
    if (!valid_address(url)) {
      return Status(Code::invalid_argument, fmt::format("{} is no address of a server", url),
                    "write it as http://host:port/v1");
    }
    impl->endpoints.push_back({.url = url, .model = settings.model});
  }
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  impl->multi = started == CURLE_OK ? curl_multi_init() : nullptr;
  if (impl->multi == nullptr) return Status(Code::resource_exhausted, "libcurl does not start");
  impl->settings = std::move(settings);
  if (impl->settings.model.empty()) impl->ask_for_models();
  return std::unique_ptr<RemoteGenerator>(new RemoteGenerator(std::move(impl)));
}

namespace {

void set_common(CURL* request, const std::string& url, double connect_seconds) {
  curl_easy_setopt(request, CURLOPT_URL, url.c_str());
  curl_easy_setopt(request, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(request, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(request, CURLOPT_FOLLOWLOCATION, 0L);  // a key is for the host it was given for
  curl_easy_setopt(request, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(connect_seconds * 1000));
}

size_t append_bounded(char* data, size_t size, size_t count, void* to) {
  auto& body = *static_cast<std::string*>(to);
  if (body.size() + size * count > kLongestError * 128) return 0;
  body.append(data, size * count);
  return size * count;
}

}  // namespace

// A server that does not answer now may later; it is then asked without naming a model.
void RemoteGenerator::Impl::ask_for_models() {
  for (Endpoint& endpoint : endpoints) {
    CURL* request = curl_easy_init();
    if (request == nullptr) return;
    std::string body;
    set_common(request, endpoint.url + "/models", std::min(settings.connect_seconds, 5.0));
    curl_slist* headers = nullptr;
    if (!settings.key.empty()) headers = curl_slist_append(headers, ("Authorization: Bearer " + settings.key).c_str());
    curl_easy_setopt(request, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(request, CURLOPT_TIMEOUT_MS, 10000L);
    curl_easy_setopt(request, CURLOPT_WRITEFUNCTION, append_bounded);
    curl_easy_setopt(request, CURLOPT_WRITEDATA, &body);
    if (curl_easy_perform(request) == CURLE_OK) {
      if (Result<std::string> model = first_model(body); model.ok()) endpoint.model = *model;
    }
    curl_easy_cleanup(request);
    curl_slist_free_all(headers);
  }
}

// The rested server with the least work; those that failed last get one request to prove themselves.
std::optional<size_t> RemoteGenerator::Impl::choose(double time) const {
  std::optional<size_t> best;
  const auto better = [&](const Endpoint& a, const Endpoint& b) {
    if ((a.failures == 0) != (b.failures == 0)) return a.failures == 0;
    if (a.under_way != b.under_way) return a.under_way < b.under_way;
    return a.finished < b.finished;
  };
  for (size_t i = 0; i < endpoints.size(); ++i) {
    const Endpoint& endpoint = endpoints[i];
    const int64_t room = endpoint.failures == 0 ? settings.per_endpoint : 1;
    if (!endpoint.dead.empty() || endpoint.rests_until > time || endpoint.under_way >= room) continue;
    if (!best || better(endpoint, endpoints[*best])) best = i;
  }
  return best;
}

void RemoteGenerator::Impl::send_waiting() {
  const double time = now();
  const bool all_dead =
      std::all_of(endpoints.begin(), endpoints.end(), [](const Endpoint& e) { return !e.dead.empty(); });
  for (auto it = waiting.begin(); it != waiting.end();) {
    const std::shared_ptr<Work> work = *it;
    if (all_dead) {
      it = waiting.erase(it);
      finish(*work, End::failed, "no endpoint is left: " + endpoints[0].dead, {});
      continue;
    }
    if (work->not_before > time) {
      ++it;
      continue;
    }
    const std::optional<size_t> endpoint = choose(time);
    if (!endpoint) return;
    it = waiting.erase(it);
    if (!send(work, *endpoint)) finish(*work, End::failed, "libcurl refuses the request", {});
  }
}

bool RemoteGenerator::Impl::send(const std::shared_ptr<Work>& work, size_t index) {
  Endpoint& endpoint = endpoints[index];
  CURL* request = curl_easy_init();
  if (request == nullptr) return false;
  const Job& job = work->job;
  int64_t max_tokens = work->closing            ? job.answer_budget
                       : job.answer_budget == 0 ? job.thinking_budget
                                                : job.thinking_budget + job.answer_budget;
  if (job.max_new_tokens >= 0) max_tokens = std::min(max_tokens, job.max_new_tokens - work->new_tokens);
  if (work->closing) {
    Job closing = job;
    closing.prompt = job.closing({.text = work->reasoning.text, .is_tail = true, .tokens = work->reasoning.tokens});
    // It has thought already; servers that know the switch do not let it begin again.
    Json extra = Json::parse(settings.extra.empty() ? "{}" : settings.extra, nullptr, false);
    extra["chat_template_kwargs"]["enable_thinking"] = false;
    work->body = chat_body(closing, endpoint.model, max_tokens, extra.dump());
  } else {
    work->body = chat_body(job, endpoint.model, max_tokens, settings.extra);
  }
  work->request = request;
  work->endpoint = index;
  work->error_body.clear();
  work->whole_body.clear();
  work->events = EventStream();
  work->text.emplace(tokenizer(), ratio);
  work->received = 0;
  work->completion_tokens = work->prompt_said = work->cached_said = -1;
  work->finish.clear();
  work->broken.clear();
  work->done_said = work->cut = work->streamed = false;
  work->sent = now();
  work->first_byte = 0;
  ++work->attempts;

  set_common(request, endpoint.url + "/chat/completions", settings.connect_seconds);
  work->headers = curl_slist_append(nullptr, "Content-Type: application/json");
  work->headers = curl_slist_append(work->headers, "Accept: text/event-stream");
  work->headers = curl_slist_append(work->headers, "Expect:");
  if (!settings.key.empty()) {
    work->headers = curl_slist_append(work->headers, ("Authorization: Bearer " + settings.key).c_str());
  }
  curl_easy_setopt(request, CURLOPT_HTTPHEADER, work->headers);
  curl_easy_setopt(request, CURLOPT_POSTFIELDS, work->body.c_str());
  curl_easy_setopt(request, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(work->body.size()));
  curl_easy_setopt(request, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(request, CURLOPT_LOW_SPEED_TIME, std::max(1L, static_cast<long>(settings.stall_seconds)));
  curl_easy_setopt(request, CURLOPT_WRITEFUNCTION, &Impl::write);
  curl_easy_setopt(request, CURLOPT_WRITEDATA, work.get());
  curl_easy_setopt(request, CURLOPT_PRIVATE, this);
  if (curl_multi_add_handle(multi, request) != CURLM_OK) {
    curl_easy_cleanup(request);
    curl_slist_free_all(work->headers);
    return false;
  }
  ++endpoint.under_way;
  running[request] = work;
  return true;
}

size_t RemoteGenerator::Impl::write(char* data, size_t size, size_t count, void* target) {
  Work& work = *static_cast<Work*>(target);
  char* self = nullptr;
  curl_easy_getinfo(work.request, CURLINFO_PRIVATE, &self);
  reinterpret_cast<Impl*>(self)->receive(work, {data, size * count});
  // A short count ends the transfer: the server sees the connection close.
  return work.cut || !work.broken.empty() ? 0 : size * count;
}

void RemoteGenerator::Impl::receive(Work& work, std::string_view bytes) {
  long status = 0;
  curl_easy_getinfo(work.request, CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) {
    work.error_body.append(bytes.substr(0, kLongestError - std::min(kLongestError, work.error_body.size())));
    return;
  }
  if (work.first_byte == 0) {
    work.first_byte = now();
    const char* type = nullptr;
    curl_easy_getinfo(work.request, CURLINFO_CONTENT_TYPE, &type);
    work.streamed = type != nullptr && std::string_view(type).starts_with("text/event-stream");
    events.push_back({.job = work.job.id, .kind = Event::Kind::started});
  }
  work.received += bytes.size();
  if (work.received > kLongestBody) {
    work.broken = "the answer is too long";
    return;
  }
  if (!work.streamed) {
    work.whole_body += bytes;
    return;
  }
  const Status status_of_events =
      work.events.push(bytes, [&](std::string_view payload) { return take(work, payload); });
  if (!status_of_events.ok()) work.broken = status_of_events.message();
}

Status RemoteGenerator::Impl::take(Work& work, std::string_view payload) {
  if (work.cut) return Status();
  ZAYA_ASSIGN(const ChatChunk chunk, parse_chat_chunk(payload));
  if (!chunk.error.empty()) return Status(Code::io_error, chunk.error);
  if (chunk.done) work.done_said = true;
  if (!chunk.finish.empty()) work.finish = chunk.finish;
  if (chunk.completion_tokens >= 0) work.completion_tokens = chunk.completion_tokens;
  if (chunk.prompt_tokens >= 0) work.prompt_said = chunk.prompt_tokens;
  if (chunk.cached_prompt_tokens >= 0) work.cached_said = chunk.cached_prompt_tokens;
  for (RemoteText::Piece& piece : work.text->add(chunk)) {
    events.push_back({.job = work.job.id,
                      .kind = Event::Kind::text,
                      .reasoning = piece.reasoning,
                      .text = std::move(piece.text),
                      .new_tokens = work.new_tokens + work.text->chunks()});
  }
  const Job& job = work.job;
  if (!work.closing && work.text->has_reasoning()) {
    if (!work.text->closed() && work.text->reasoning_reached(job.thinking_budget)) work.cut = true;
    if (job.answer_budget == 0 && work.text->closed()) work.cut = true;
  }
  if (work.text->has_answer() &&
      work.text->answer_reached(job.answer_budget > 0 ? job.answer_budget : job.thinking_budget)) {
    work.cut = true;
  }
  return Status();
}

// Takes the attempt off the multi handle.
void RemoteGenerator::Impl::remove(Work& work) {
  curl_multi_remove_handle(multi, work.request);
  curl_easy_cleanup(work.request);
  curl_slist_free_all(work.headers);
  running.erase(work.request);
  work.request = nullptr;
  work.headers = nullptr;
  --endpoints[work.endpoint].under_way;
}

// Doubling with each failure in a row, with jitter so that clients do not return together. Failures while it rests
// already are those of requests that were under way together: one event.
void RemoteGenerator::Impl::rest(Endpoint& endpoint, double at_least) {
  const double time = now();
  if (endpoint.rests_until > time && at_least <= 0) return;
  endpoint.failures = std::min<int64_t>(endpoint.failures + 1, 30);
  double seconds = std::min(settings.longest_rest_seconds,
                            settings.rest_seconds * static_cast<double>(int64_t{1} << (endpoint.failures - 1)));
  seconds *= 0.5 + static_cast<double>(random() >> 11) * 0x1p-53;
  endpoint.rests_until = std::max(endpoint.rests_until, time + std::max(seconds, at_least));
}

void RemoteGenerator::Impl::again(const std::shared_ptr<Work>& work, const std::string& why) {
  if (work->attempts - work->busy_answers >= settings.attempts || work->busy_answers >= kBusyAnswers) {
    // The reasoning is there, and counts, when only the question for its answer failed.
    finish(*work, work->closing ? End::length : End::failed, why, {});
    return;
  }
  events.push_back({.job = work->job.id, .kind = Event::Kind::restarted, .note = why});
  waiting.push_front(work);  // it was first once
}

void RemoteGenerator::Impl::settle(const std::shared_ptr<Work>& work, CURLcode code) {
  long status = 0;
  curl_off_t retry_after = 0;
  curl_easy_getinfo(work->request, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(work->request, CURLINFO_RETRY_AFTER, &retry_after);
  Endpoint& endpoint = endpoints[work->endpoint];
  remove(*work);
  std::string why;
  if (work->broken.empty() && status == 200 && !work->streamed && code == CURLE_OK) {
    // A server that does not stream answers whole.
    if (Status taken = take(*work, work->whole_body); !taken.ok()) work->broken = taken.message();
  }
  const bool whole = status == 200 && work->broken.empty() &&
                     (work->cut || (code == CURLE_OK && (work->done_said || !work->finish.empty())));
  if (whole) {
    endpoint.failures = 0;
    succeed(work);
    return;
  }
  if (!work->broken.empty()) {
    why = work->broken;
  } else if (code != CURLE_OK) {
    why = curl_easy_strerror(code);
  } else if (status != 200) {
    why = error_text(status, work->error_body);
  } else {
    why = "the answer breaks off";
  }
  why = public_address(endpoint.url) + ": " + why;
  // What a failed attempt brought is void; the server has computed it all the same.
  work->wasted += work->text->chunks();
  if (status == 429) {
    ++work->busy_answers;
    constexpr double kLongestWait = 600;
    rest(endpoint, std::clamp(static_cast<double>(retry_after), settings.rest_seconds, kLongestWait));
  } else if (status == 401 || status == 403 || status == 404 || status == 405) {
    endpoint.dead = why;
  } else if (status >= 400 && status < 500 && status != 408) {
    finish(*work, work->closing ? End::length : End::failed, why, {});  // the same everywhere
    return;
  } else {
    rest(endpoint, 0);
  }
  again(work, why);
}

void RemoteGenerator::Impl::succeed(const std::shared_ptr<Work>& work) {
  const Job& job = work->job;
  work->text->end();
  const int64_t said = work->cut ? -1 : work->completion_tokens;
  if (tokenizer() == nullptr && said > 0) {
    seen_characters += static_cast<double>(work->text->characters());
    seen_tokens += static_cast<double>(said);
    if (seen_tokens > 0 && seen_characters > 0) ratio = seen_characters / seen_tokens;
  }
  const bool length = work->cut || work->finish == "length";
  Text answer = work->text->answer(job.answer_budget > 0 ? job.answer_budget : -1, said);
  Text reasoning = work->text->reasoning(work->closing ? -1 : job.thinking_budget, said);
  work->new_tokens += said >= 0 ? said : reasoning.count + answer.count;
  work->prompt_tokens += std::max<int64_t>(0, work->prompt_said);
  work->cached_prompt_tokens += std::max<int64_t>(0, work->cached_said);
  if (work->closing) {
    // Whatever it thought once more is no part of the trace.
    ++endpoints[work->endpoint].finished;
    finish(*work, length ? End::length : End::stop, "", std::move(answer));
    return;
  }
  work->reasoning = std::move(reasoning);
  const bool open = work->text->has_reasoning() && !work->text->closed();
  const bool room = job.max_new_tokens < 0 || work->new_tokens < job.max_new_tokens;
  if (open && length && job.answer_budget > 0 && job.close == Close::force && job.closing && room) {
    work->closing = true;
    work->attempts = 0;
    waiting.push_front(work);
    return;
  }
  ++endpoints[work->endpoint].finished;
  const bool thought_only = job.answer_budget == 0 && work->text->closed();
  finish(*work, length && !thought_only ? End::length : End::stop, "", thought_only ? Text() : std::move(answer));
}

void RemoteGenerator::Impl::finish(Work& work, End end, const std::string& failure, Text answer) {
  auto trace = std::make_shared<Trace>();
  trace->end = end;
  trace->failure = failure;
  trace->closed = end != End::failed && !work.closing && work.text.has_value() && work.text->closed();
  trace->reasoning = std::move(work.reasoning);
  trace->answer = std::move(answer);
  trace->new_tokens = work.new_tokens;
  trace->wasted_tokens = work.wasted;
  trace->prompt_tokens = work.prompt_tokens;
  trace->cached_prompt_tokens = work.cached_prompt_tokens;
  trace->attempts = work.attempts;
  trace->endpoint = public_address(endpoints[work.endpoint].url);
  const double time = now();
  if (work.sent > 0) trace->queue_seconds = work.sent - work.submitted;
  if (work.first_byte > 0) {
    trace->prefill_seconds = work.first_byte - work.sent;
    trace->decode_seconds = time - work.first_byte;
  }
  events.push_back(
      {.job = work.job.id, .kind = Event::Kind::done, .new_tokens = trace->new_tokens, .trace = std::move(trace)});
}

Status RemoteGenerator::submit(Job job) {
  if (!job.prompt.continuation.empty()) {
    return Status(Code::unsupported, "a server cannot go on inside an assistant's turn", "use --carry aggregate");
  }
  auto work = std::make_shared<Work>(std::move(job));
  work->submitted = now();
  impl_->waiting.push_back(std::move(work));
  return Status();
}

void RemoteGenerator::cancel(int64_t id) {
  Impl& impl = *impl_;
  for (auto it = impl.waiting.begin(); it != impl.waiting.end(); ++it) {
    if ((*it)->job.id != id) continue;
    const std::shared_ptr<Work> work = *it;
    impl.waiting.erase(it);
    impl.finish(*work, End::cancelled, "", {});
    return;
  }
  for (auto& [request, running] : impl.running) {
    if (running->job.id != id) continue;
    const std::shared_ptr<Work> work = running;
    impl.remove(*work);
    work->text->end();
    Text answer = work->text->answer(-1, -1);
    if (!work->closing) work->reasoning = work->text->reasoning(-1, -1);
    work->new_tokens += answer.count + (work->closing ? 0 : work->reasoning.count);
    impl.finish(*work, End::cancelled, "", std::move(answer));
    return;
  }
}

std::vector<Event> RemoteGenerator::wait(double seconds) {
  Impl& impl = *impl_;
  const double until = now() + seconds;
  while (true) {
    impl.send_waiting();
    int active = 0;
    curl_multi_perform(impl.multi, &active);
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(impl.multi, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const CURLcode code = message->data.result;
      const auto found = impl.running.find(message->easy_handle);
      if (found != impl.running.end()) impl.settle(std::shared_ptr<Work>(found->second), code);
    }
    const double rest = until - now();
    if (!impl.events.empty() || rest <= 0) break;
    // Waiting work may become due before anything happens on a connection.
    const double slice = impl.waiting.empty() ? rest : std::min(rest, 0.02);
    curl_multi_poll(impl.multi, nullptr, 0, static_cast<int>(slice * 1000) + 1, nullptr);
  }
  impl.send_waiting();
  return std::exchange(impl.events, {});
}

int64_t RemoteGenerator::capacity() const {
  return static_cast<int64_t>(impl_->endpoints.size()) * impl_->settings.per_endpoint;
}

std::string RemoteGenerator::decode(std::span<const text::TokenId> tokens) const {
  return impl_->tokenizer() != nullptr ? impl_->tokenizer()->decode(tokens) : std::string();
}

std::string RemoteGenerator::describe() const {
  Json addresses = Json::array();
  for (const Endpoint& endpoint : impl_->endpoints) {
    addresses.push_back({{"address", public_address(endpoint.url)}, {"model", endpoint.model}});
  }
  Json json = {{"kind", "remote"}, {"endpoints", addresses}};
  if (impl_->tokenizer() != nullptr) {
    json["counts"] = "tokens";
  } else {
    json["counts"] = "estimated";
    json["characters_per_token"] = kCharactersPerToken;
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<int64_t> RemoteGenerator::finished_by_endpoint() const {
  std::vector<int64_t> counts;
  for (const Endpoint& endpoint : impl_->endpoints) counts.push_back(endpoint.finished);
  return counts;
}

}  // namespace zaya::reasoning
