// zaya serve: a model over HTTP until SIGTERM or SIGINT. Options come from the command line, else from the environment
// (--max-queue is ZAYA_MAX_QUEUE), else from a file of "name = value" lines (--config).
#include <fmt/format.h>
#include <pthread.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <thread>

#include "apps/zaya/common.h"
#include "apps/zaya/verbs.h"
#include "base/file.h"
#include "server/server.h"

namespace zaya::app {
namespace {

struct ServeOptions {
  ModelOptions model;
  server::ServerOptions server;
  std::string config, key_file;
  std::vector<std::string> keys;
  bool no_prefix_cache = false, quiet = false;
  double memory_gb = 0, drain_seconds = 30, idle_seconds = 75, body_mb = 4;
};

std::string environment_name(const CLI::Option& option) {
  std::string name = "ZAYA_" + option.get_lnames().front();
  for (char& c : name) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

// Fills what the command line and the environment left open. TOML's simple part, which is INI's too.
Status read_config(CLI::App& verb, const std::string& path) {
  ZAYA_ASSIGN(const std::string content, read_file(path, size_t{1} << 20));
  const auto wrong = [&](const std::string& what) {
    return Status(Code::invalid_argument, fmt::format("{}: {}", path, what), "see zaya serve --help for the names");
  };
  try {
    std::istringstream stream(content);
    for (const CLI::ConfigItem& item : CLI::ConfigTOML().from_config(stream)) {
      if (item.name == "++" || item.name == "--") continue;  // a section's borders; sections only group
      CLI::Option* option = verb.get_option_no_throw(item.name == "model" ? "MODEL" : "--" + item.name);
      if (option == nullptr || item.name == "config") return wrong(fmt::format("there is no option {}", item.name));
      if (option->count() > 0) continue;
      if (option->get_expected_max() == 0) {  // a flag
        const bool on = item.inputs.size() == 1 && (item.inputs[0] == "true" || item.inputs[0] == "1");
        if (!on && !(item.inputs.size() == 1 && (item.inputs[0] == "false" || item.inputs[0] == "0"))) {
          return wrong(fmt::format("{} must be true or false", item.name));
        }
        if (!on) continue;
        option->add_result("true");
      } else {
        for (const std::string& input : item.inputs) option->add_result(input);
      }
      option->run_callback();
    }
  } catch (const CLI::Error& error) {
    return wrong(error.what());
  }
  return Status();
}

// One key per line, perhaps with limits behind it; blank lines and lines that start with '#' are left out.
Status read_keys(const std::string& path, std::vector<server::ApiKey>& keys) {
  ZAYA_ASSIGN(const std::string content, read_file(path, size_t{1} << 20));
  std::istringstream lines(content);
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos || line[first] == '#') continue;
    ZAYA_ASSIGN(server::ApiKey key, server::parse_key(line));
    keys.push_back(std::move(key));
  }
  return Status();
}

// A descriptor per connection: as many as the system lets us have.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void print_line(const std::string& line) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fputc('\n', stderr);
}

int serve(ServeOptions& options) {
  // Before any thread starts, so that all of them leave these signals to the sigwait below.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();

  server::ServerOptions& to = options.server;
  to.service.prefix_cache = !options.no_prefix_cache;
  to.service.memory_bytes = static_cast<int64_t>(options.memory_gb * 1e9);
  to.http.max_body_bytes = static_cast<int64_t>(options.body_mb * 1e6);
  to.http.idle_deadline = std::chrono::milliseconds(static_cast<int64_t>(options.idle_seconds * 1e3));
  if (!options.key_file.empty()) {
    if (const Status status = read_keys(options.key_file, to.api.keys); !status.ok()) return fail(status);
    if (to.api.keys.empty()) {
      return fail(Status(Code::invalid_argument, options.key_file + " holds no key", "write one per line"));
    }
  }
  for (const std::string& key : options.keys) {
    if (key.empty()) return fail(Status(Code::invalid_argument, "an API key is empty", "give one with characters"));
    to.api.keys.push_back({.key = key, .limits = {}});
  }

  Result<Session> session = options.model.open();
  if (!session.ok()) return fail(session.status());
  const std::string directory = session->directory.string();
  const auto log = options.quiet ? std::function<void(const std::string&)>() : print_line;
  const bool open = !server::is_loopback(to.http.host) && to.api.keys.empty();
  const std::string host = to.http.host;
  Result<std::unique_ptr<server::Server>> server = server::Server::start(std::move(*session), std::move(to), log);
  if (!server.ok()) return fail(server.status());
  if (open) print_line("zaya: warning: anybody who can reach this address may use it; set --api-key");
  // On stdout, so that a program that started this one can read where it listens.
  fmt::print("zaya: serving {} at http://{}:{}\n", directory,
             host.find(':') == std::string::npos ? host : "[" + host + "]", (*server)->port());
  std::fflush(stdout);

  int signal = 0;
  ::sigwait(&signals, &signal);
  fmt::print(stderr, "zaya: finishing what runs, for at most {:g} s; a second signal ends at once\n",
             options.drain_seconds);
  std::thread([signals] {
    int again = 0;
    ::sigwait(&signals, &again);
    std::_Exit(128 + again);
  }).detach();
  if (const Status status = (*server)->drain(options.drain_seconds); !status.ok()) {
    fmt::print(stderr, "zaya: {}\n", status.to_string());
  }
  server->reset();
  return kFine;
}

}  // namespace

Action add_serve(CLI::App& verb) {
  const auto options = std::make_shared<ServeOptions>();
  server::ServerOptions& to = options->server;
  options->model.add_to(verb);
  verb.add_option("--config", options->config, "File of `name = value` lines with these options' names");
  verb.add_option("--host", to.http.host, "Address to listen on; 0.0.0.0 = all (default: 127.0.0.1)");
  verb.add_option("--port", to.http.port, "Port; 0 = any free one (default: 8080)");
  verb.add_option("--model-name", to.model_name, "Name in /v1/models (default: the directory's)");
  verb.add_option("--api-key", options->keys, "Ask for this key; may be repeated");
  verb.add_option("--api-key-file", options->key_file,
                  "Ask for one of this file's keys, one per line, as KEY [requests=N] [runs=N] [run-tokens=N]");
  verb.add_option("--allow-origin", to.api.allow_origins,
                  "Let pages of this web site call, as https://chat.example.org; may be repeated");
  verb.add_option("--memory", options->memory_gb, "GB for keys, values and prefix cache (default: found automatically)")
      ->check(CLI::NonNegativeNumber);
  verb.add_option("--max-queue", to.service.max_queue, "Requests that may wait; beyond: 429 (default: 256)")
      ->check(CLI::Range(0, 1 << 20));
  verb.add_option("--max-running", to.service.engine.max_running, "Choices that share steps (default: 64)")
      ->check(CLI::Range(1, 4096));
  verb.add_option("--prefill-chunk", to.service.engine.prefill_chunk, "Prompt tokens per step (default: 512)")
      ->check(CLI::Range(1, 1 << 20));
  verb.add_flag("--no-prefix-cache", options->no_prefix_cache, "Compute every prompt from its start");
  verb.add_option("--cache-file", to.service.cache_file, "Keep the prefix cache here over restarts");
  verb.add_option("--max-n", to.api.limits.max_choices, "Choices per request at most (default: 16)")
      ->check(CLI::Range(1, 4096));
  verb.add_option("--max-runs", to.api.runs.max_runs,
                  "Runs of Markovian RSA at once; 0 = none; beyond: 429 (default: 2)")
      ->check(CLI::Range(0, 64));
  verb.add_option("--max-run-candidates", to.api.runs.max_candidates,
                  "Candidates of a run, all rounds together, at most (default: 512)")
      ->check(CLI::Range(1, 1 << 16));
  verb.add_option("--max-run-tokens", to.api.runs.max_new_tokens, "New tokens of a run at most (default: 8388608)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 32));
  verb.add_option("--max-body", options->body_mb, "MB of a request at most (default: 4)")
      ->check(CLI::Range(0.001, 1000.0));
  verb.add_option("--max-connections", to.http.max_connections, "Open connections at most (default: 4096)")
      ->check(CLI::Range(1, 1 << 20));
  verb.add_option("--idle-timeout", options->idle_seconds,
                  "Seconds before an unused connection is closed (default: 75)")
      ->check(CLI::PositiveNumber);
  verb.add_option("--http-workers", to.http.workers, "Threads that parse and tokenize requests (default: 2)")
      ->check(CLI::Range(1, 256));
  verb.add_option("--drain-timeout", options->drain_seconds,
                  "Seconds that running answers get at the end (default: 30)")
      ->check(CLI::NonNegativeNumber);
  verb.add_flag("--log-prompts", to.api.log_prompts, "Also log what requests say");
  verb.add_flag("--quiet", options->quiet, "No line per request");
  for (CLI::Option* option : verb.get_options()) {
    if (!option->get_lnames().empty() && option->get_lnames().front() != "help") {
      option->envname(environment_name(*option));
    }
  }
  return [&verb, options] {
    if (!options->config.empty()) {
      if (const Status status = read_config(verb, options->config); !status.ok()) return fail(status);
    }
    return serve(*options);
  };
}

}  // namespace zaya::app
