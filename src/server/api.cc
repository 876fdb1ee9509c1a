#include "server/api.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "server/answer.h"
#include "server/page.h"

namespace zaya::server {
namespace {

using Clock = std::chrono::steady_clock;

bool is_loopback_name(std::string_view host) {
  return host == "localhost" || host == "127.0.0.1" || host == "[::1]" || host.ends_with(".localhost");
}

// "http://host:port" → "host:port"; empty when it is not of that form.
std::string_view origin_host(std::string_view origin) {
  const size_t scheme = origin.find("://");
  return scheme == std::string_view::npos ? std::string_view() : origin.substr(scheme + 3);
}

std::string_view without_port(std::string_view host) {
  const size_t colon = host.rfind(':');
  return colon == std::string_view::npos || host.ends_with(']') ? host : host.substr(0, colon);
}

bool is_request_id(std::string_view id) {
  return !id.empty() && id.size() <= 64 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  });
}

uint64_t mixed(uint64_t x) {  // splitmix64's finaliser: ids that look alike for nobody
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
  x = (x ^ x >> 27) * 0x94D049BB133111EBu;
  return x ^ x >> 31;
}

double milliseconds(Clock::time_point since) {
  return std::round(std::chrono::duration<double>(Clock::now() - since).count() * 1e6) / 1e3;
}

}  // namespace

// One request being handled.
struct Api::Exchange {
  HttpRequest request;
  std::shared_ptr<Responder> responder;
  std::string id;
  const char* route = "other";  // for metrics: from our own list
  bool anthropic = false;
  Headers headers;              // of every answer: request id, CORS
  std::optional<size_t> key;    // which of the keys was given
  std::shared_ptr<void> place;  // among what the key's holder may have under way
  Clock::time_point arrival = Clock::now();
};

struct Api::Route {
  const char* method;
  const char* path;
  void (Api::*handle)(Exchange&);
  bool open = false;       // without a key
  bool anthropic = false;  // errors in Anthropic's form
};

const Api::Route Api::kRoutes[] = {
    {"GET", "/health", &Api::health, true},
    {"GET", "/ready", &Api::ready, true},
    {"GET", "/metrics", &Api::metrics_text},
    {"GET", "/v1/models", &Api::models},
    {"POST", "/v1/chat/completions", &Api::chat},
    {"POST", "/v1/completions", &Api::completion},
    {"POST", "/v1/responses", &Api::response},
    {"POST", "/v1/messages", &Api::message, false, true},
    {"POST", "/v1/messages/count_tokens", &Api::count_tokens, false, true},
    {"POST", "/tokenize", &Api::tokenize},
    {"POST", "/detokenize", &Api::detokenize},
    {"POST", "/apply-template", &Api::apply_template},
};

bool constant_time_equal(std::string_view a, std::string_view b) {
  // Every byte of `a` is looked at, whatever it holds.
  unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    const unsigned char other = b.empty() ? 0 : static_cast<unsigned char>(b[i % b.size()]);
    difference = static_cast<unsigned char>(difference | (static_cast<unsigned char>(a[i]) ^ other));
  }
  return difference == 0;
}

Api::Api(Backend backend, ApiOptions options, std::function<void(const std::string&)> log)
    : backend_(std::move(backend)),
      options_(std::move(options)),
      log_(std::move(log)),
      ids_(uint64_t{std::random_device{}()} << 32 | std::random_device{}()),
      key_uses_(options_.keys.size()),
      run_threads_(options_.runs.max_runs) {}

void Api::handle(HttpRequest request, std::shared_ptr<Responder> responder) {
  Exchange exchange{.request = std::move(request), .responder = std::move(responder)};
  const std::string_view given = exchange.request.header("x-request-id");
  const uint64_t number = ids_.fetch_add(1);
  exchange.id = is_request_id(given) ? std::string(given)
                                     : fmt::format("{:016x}{:08x}", mixed(number), mixed(~number) & 0xFFFFFFFF);
  exchange.headers.emplace_back("X-Request-Id", exchange.id);
  exchange.anthropic = exchange.request.path.starts_with("/v1/messages");
  if (allowed(exchange)) dispatch(exchange);
}

// Whether a page in a browser may ask at all. A web site can make a visitor's browser send requests to this machine;
// browsers name the site in Origin. Our own page's origin is the host that was asked, which, when we listen on loopback
// only, must also be called by a loopback name: else a foreign name has been made to point here.
bool Api::allowed(Exchange& exchange) {
  const std::string_view origin = exchange.request.header("origin");
  if (origin.empty()) return true;
  const auto& list = options_.allow_origins;
  if (std::find(list.begin(), list.end(), origin) != list.end()) {
    exchange.headers.emplace_back("Access-Control-Allow-Origin", std::string(origin));
    exchange.headers.emplace_back("Vary", "Origin");
    exchange.headers.emplace_back("Access-Control-Expose-Headers", "X-Request-Id");
    if (exchange.request.method == "OPTIONS") {
      HttpResponse response{.status = 204, .content_type = ""};
      response.headers = {
          {"Access-Control-Allow-Methods", "GET, POST"},
          {"Access-Control-Allow-Headers", "Authorization, Content-Type, X-Api-Key, X-Request-Id, Anthropic-Version"},
          {"Access-Control-Max-Age", "3600"}};
      reply(exchange, std::move(response));
      return false;
    }
    return true;
  }
  const std::string_view host = origin_host(origin);
  const bool own = !host.empty() && host == exchange.request.header("host") &&
                   (!options_.loopback || is_loopback_name(without_port(host)));
  if (own) return true;
  reply_error(exchange, {.status = 403,
                         .message = "pages of this origin may not call (zaya serve --allow-origin)",
                         .code = "origin_not_allowed"});
  return false;
}

void Api::dispatch(Exchange& exchange) {
  const HttpRequest& request = exchange.request;
  const std::string method = request.method == "HEAD" ? "GET" : request.method;
  const Route* found = nullptr;
  bool path_exists = false;
  for (const Route& route : kRoutes) {
    const bool models = route.handle == &Api::models && request.path.starts_with("/v1/models/");
    if (request.path != route.path && !models) continue;
    path_exists = true;
    exchange.route = route.path;
    if (method == route.method) found = &route;
  }
  if (found == nullptr && !path_exists && method == "GET" && find_asset(request.path) != nullptr) {
    exchange.route = "page";
    return page(exchange);
  }
  if ((found == nullptr || !found->open) && !options_.keys.empty()) {
    std::string_view key = request.header("x-api-key");
    if (const std::string_view bearer = request.header("authorization");
        bearer.size() > 7 && (bearer[0] | 0x20) == 'b') {
      key = bearer.substr(7);
    }
    for (size_t i = 0; i < options_.keys.size(); ++i) {
      if (constant_time_equal(options_.keys[i].key, key)) exchange.key = i;
    }
    if (!exchange.key) {
      return reply_error(exchange, {.status = 401,
                                    .message = key.empty() ? "an API key is needed (Authorization: Bearer …)"
                                                           : "this API key is not known",
                                    .code = "invalid_api_key"});
    }
  }
  if (found == nullptr) {
    if (path_exists) {
      return reply_error(exchange, {.status = 405, .message = "this route does not know " + method.substr(0, 32)});
    }
    return reply_error(exchange, {.status = 404, .message = "there is nothing here", .code = "not_found"});
  }
  (this->*found->handle)(exchange);
}

void Api::reply(Exchange& exchange, HttpResponse response) {
  metrics_.count(exchange.route, response.status);
  // A page's files and the probes of balancers would drown the rest.
  const bool quiet =
      response.status < 400 && (std::string_view(exchange.route) == "page" || exchange.request.path == "/health" ||
                                exchange.request.path == "/ready" || exchange.request.path == "/metrics");
  if (!quiet) log(exchange, {{"status", response.status}});
  response.headers.insert(response.headers.end(), exchange.headers.begin(), exchange.headers.end());
  exchange.responder->send(std::move(response));
}

void Api::reply_json(Exchange& exchange, const Json& json) { reply(exchange, {.body = dump(json)}); }

void Api::reply_error(Exchange& exchange, const ApiError& error) {
  reply(exchange, error_response(error, exchange.anthropic));
}

void Api::log(const Exchange& exchange, Json fields) {
  if (!log_) return;
  const auto now = std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  const std::time_t time = std::chrono::system_clock::to_time_t(now);
  std::tm utc{};
  ::gmtime_r(&time, &utc);
  Json line = {{"time", fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03d}Z", utc, now.time_since_epoch().count() % 1000)},
               {"id", exchange.id},
               {"peer", exchange.request.peer},
               {"method", exchange.request.method.substr(0, 32)},
               {"path", exchange.request.path.substr(0, 200)},
               {"ms", milliseconds(exchange.arrival)}};
  line.update(fields);
  log_(dump(line));
}

bool Api::read_body(Exchange& exchange, Json& body) {
  const auto error = parse_body(exchange.request.body, body);
  if (error) reply_error(exchange, *error);
  return !error;
}

bool Api::refuse_draining(Exchange& exchange) {
  if (!draining_) return false;
  reply_error(exchange, {.status = 503, .message = "the server is shutting down", .retry_after = 5});
  return true;
}

std::string Api::next_id(const Exchange& exchange) {
  return fmt::format("{:016x}{:08x}", mixed(ids_.fetch_add(1)), std::hash<std::string>{}(exchange.id) & 0xFFFFFFFF);
}

// What is called, and logs, when an answer is out. Takes from the exchange what need not be kept until then.
std::function<void(const AnswerRecord&)> Api::hand_over(Exchange& exchange) {
  const std::string prompt = options_.log_prompts ? std::move(exchange.request.body) : std::string();
  // What the log needs later; the body itself is not needed any more.
  exchange.request.body = {};
  exchange.request.budget = nullptr;
  exchange.responder = nullptr;
  const auto end = [this, exchange, prompt](const AnswerRecord& record) {
    metrics_.count(exchange.route, record.status);
    Json fields = {{"status", record.status},
                   {"finish", record.finish},
                   {"choices", record.choices},
                   {"prompt_tokens", record.usage.prompt_tokens},
                   {"cached_tokens", record.usage.cached_tokens},
                   {"new_tokens", record.usage.completion_tokens},
                   {"first_token_ms", std::round(record.first_token_seconds * 1e6) / 1e3},
                   {"queue_ms", std::round(record.queue_seconds * 1e6) / 1e3}};
    if (!record.error.empty()) fields["error"] = record.error;
    if (!record.usage.markovian_rsa.is_null()) fields["markovian_rsa"] = record.usage.markovian_rsa["stopped"];
    if (!prompt.empty()) fields["request"] = prompt;
    log(exchange, std::move(fields));
  };
  exchange.place = nullptr;  // the answer has it now
  return end;
}

void Api::answer(Exchange& exchange, Parser parse, MakeFormat format) {
  Json body;
  if (read_body(exchange, body)) answer(exchange, body, parse, format);
}

void Api::answer(Exchange& exchange, const Json& body, Parser parse, MakeFormat format) {
  if (refuse_draining(exchange) || !take_place(exchange, false)) return;
  Ask ask;
  ask.id = next_id(exchange);
  std::optional<ApiError> error;
  parse(body, {backend_, options_.limits}, ask, error);
  if (error) return reply_error(exchange, *error);
  const auto responder = exchange.responder;
  const auto job = std::make_shared<Answer>(std::move(ask), backend_, metrics_, responder, exchange.headers,
                                            exchange.arrival, hand_over(exchange));
  job->set_format(format(job->ask(), backend_, body));
  job->start();
}

// Against the limits of its key. False: it is refused.
bool Api::take_place(Exchange& exchange, bool run) {
  if (!exchange.key) return true;
  exchange.place = key_uses_[*exchange.key].enter(options_.keys[*exchange.key].limits, run);
  if (exchange.place != nullptr) return true;
  reply_error(exchange, {.status = 429,
                         .message = "this key has as many requests under way as it may have",
                         .code = "rate_limit_exceeded",
                         .retry_after = 1});
  return false;
}

void Api::answer_by_run(Exchange& exchange, const Json& body, MakeFormat format, const Json& as_it_came) {
  if (refuse_draining(exchange) || !take_place(exchange, true)) return;
  RunLimits limits = options_.runs;
  if (exchange.key && options_.keys[*exchange.key].limits.run_tokens > 0) {
    limits.max_new_tokens = std::min(limits.max_new_tokens, options_.keys[*exchange.key].limits.run_tokens);
  }
  RunAsk ask;
  ask.ask.id = next_id(exchange);
  std::optional<ApiError> error;
  parse_run(body, {backend_, options_.limits}, limits, ask, error);
  if (error) return reply_error(exchange, *error);
  Exchange kept = exchange;
  exchange.place = nullptr;
  const auto responder = exchange.responder;
  const auto job = std::make_shared<RunAnswer>(std::move(ask), backend_, options_.runs, metrics_, responder,
                                               exchange.headers, hand_over(kept));
  job->set_format(format(job->ask(), backend_, as_it_came));
  if (job->start(run_threads_)) return;
  reply_error(exchange, {.status = 429,
                         .message = fmt::format("{} runs of Markovian RSA are under way; no more can begin",
                                                options_.runs.max_runs),
                         .code = "overloaded",
                         .retry_after = 10});
}

// ---- Routes

void Api::chat(Exchange& exchange) {
  Json body;
  if (!read_body(exchange, body)) return;
  constexpr auto format = [](const Ask& ask, const Backend& b, const Json&) { return chat_format(ask, b); };
  if (wants_run(body)) return answer_by_run(exchange, body, format, body);
  answer(exchange, body, parse_chat, format);
}

void Api::completion(Exchange& exchange) {
  answer(exchange, parse_completion,
         [](const Ask& ask, const Backend& b, const Json&) { return completion_format(ask, b); });
}

void Api::response(Exchange& exchange) {
  Json body;
  if (!read_body(exchange, body)) return;
  if (!wants_run(body)) return answer(exchange, body, parse_response, response_format);
  std::optional<ApiError> error;
  const Json chat = chat_of_response(body, options_.limits, error);
  if (error) return reply_error(exchange, *error);
  answer_by_run(exchange, chat, response_format, body);
}

void Api::message(Exchange& exchange) {
  answer(exchange, parse_message, [](const Ask& ask, const Backend& b, const Json&) { return message_format(ask, b); });
}

void Api::count_tokens(Exchange& exchange) {
  Json body;
  if (!read_body(exchange, body)) return;
  if (!body.contains("max_tokens")) body["max_tokens"] = 1;
  Ask ask;
  std::optional<ApiError> error;
  parse_message(body, {backend_, options_.limits}, ask, error);
  if (error) return reply_error(exchange, *error);
  reply_json(exchange, {{"input_tokens", ask.prompts.front().prompt.size()}});
}

void Api::page(Exchange& exchange) {
  const Asset& asset = *find_asset(exchange.request.path);
  HttpResponse response{.content_type = std::string(asset.content_type)};
  response.headers = {{"ETag", std::string(asset.etag)},
                      {"Cache-Control", "no-cache"},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Referrer-Policy", "no-referrer"},
                      {"Content-Security-Policy", std::string(kPageSecurityPolicy)}};
  if (exchange.request.header("if-none-match") == asset.etag) {
    response.status = 304;
  } else {
    if (asset.gzip) response.headers.emplace_back("Content-Encoding", "gzip");
    response.body.assign(reinterpret_cast<const char*>(asset.bytes.data()), asset.bytes.size());
  }
  reply(exchange, std::move(response));
}

void Api::health(Exchange& exchange) { reply_json(exchange, {{"status", "ok"}}); }

void Api::ready(Exchange& exchange) {
  if (!draining_) return reply_json(exchange, {{"status", "ready"}});
  reply_error(exchange, {.status = 503, .message = "the server is shutting down"});
}

void Api::metrics_text(Exchange& exchange) {
  reply(exchange, {.content_type = "text/plain; version=0.0.4; charset=utf-8",
                   .body = metrics_.text(backend_.stats(), http_stats_ ? http_stats_() : HttpStats())});
}

void Api::models(Exchange& exchange) {
  const Json model = {{"id", backend_.model_name},           {"object", "model"},
                      {"created", backend_.created},         {"owned_by", "zaya"},
                      {"max_model_len", backend_.context()}, {"markovian_rsa", offers_runs()}};
  constexpr std::string_view kPrefix = "/v1/models/";
  const std::string_view path = exchange.request.path;
  if (!path.starts_with(kPrefix)) return reply_json(exchange, {{"object", "list"}, {"data", Json::array({model})}});
  if (path.substr(kPrefix.size()) == backend_.model_name) return reply_json(exchange, model);
  reply_error(exchange, {.status = 404,
                         .message = "there is no such model; this server has " + backend_.model_name,
                         .param = "model",
                         .code = "model_not_found"});
}

void Api::tokenize(Exchange& exchange) {
  Json body;
  if (!read_body(exchange, body)) return;
  std::optional<ApiError> error;
  Reader reader(body, "", error);
  text::EncodeOptions options;
  options.add_special_tokens = reader.boolean("add_special_tokens").value_or(false);
  options.parse_special = reader.boolean("parse_special").value_or(true);
  std::string text;
  if (reader.find("messages") != nullptr) {
    Json variables = chat_variables(reader, options_.limits);
    ThinkingChoice thinking;
    read_thinking(reader, thinking, variables);
    if (!error) {
      const Result<std::string> prompt = render_prompt(backend_, std::move(variables), thinking.think);
      if (!prompt.ok()) return reply_error(exchange, to_api_error(prompt.status(), "messages"));
      text = *prompt;
    }
  } else {
    // vLLM calls it prompt, llama.cpp content.
    const char* key = reader.find("content") != nullptr ? "content" : "prompt";
    reader.require(key);
    text = reader.string(key).value_or("");
  }
  if (error) return reply_error(exchange, *error);
  const auto tokens = backend_.tokenizer().encode(text, options);
  reply_json(exchange, {{"count", tokens.size()}, {"max_model_len", backend_.context()}, {"tokens", tokens}});
}

void Api::detokenize(Exchange& exchange) {
  Json body;
  if (!read_body(exchange, body)) return;
  std::optional<ApiError> error;
  Reader reader(body, "", error);
  reader.require("tokens");
  std::vector<text::TokenId> tokens;
  if (const Json* list = reader.array("tokens")) {
    for (const Json& token : *list) {
      if (!token.is_number_integer() || token.get<int64_t>() < 0 ||
          token.get<int64_t>() >= backend_.tokenizer().size()) {
        reader.fail("tokens", fmt::format("holds {}, which is no token id", dump(token).substr(0, 32)));
        break;
      }
      tokens.push_back(token.get<text::TokenId>());
    }
  }
  if (error) return reply_error(exchange, *error);
  const std::string text = backend_.tokenizer().decode(tokens);
  reply_json(exchange, {{"prompt", text}, {"content", text}});
}

void Api::apply_template(Exchange& exchange) {
  Json body;
  if (!read_body(exchange, body)) return;
  std::optional<ApiError> error;
  Reader reader(body, "", error);
  Json variables = chat_variables(reader, options_.limits);
  ThinkingChoice thinking;
  read_thinking(reader, thinking, variables);
  if (const auto prompt = reader.boolean("add_generation_prompt")) variables["add_generation_prompt"] = *prompt;
  if (error) return reply_error(exchange, *error);
  const Result<std::string> prompt = render_prompt(backend_, std::move(variables), thinking.think);
  if (!prompt.ok()) return reply_error(exchange, to_api_error(prompt.status(), "messages"));
  reply_json(exchange, {{"prompt", *prompt}});
}

}  // namespace zaya::server
