// zaya chat: a conversation in the terminal.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "apps/zaya/common.h"
#include "apps/zaya/line_reader.h"
#include "apps/zaya/printer.h"
#include "apps/zaya/verbs.h"

namespace zaya::app {
namespace {

constexpr const char* kHelp =
    "/help            this text\n"
    "/reset           forget the conversation (the system message stays)\n"
    "/retry           answer the last question again\n"
    "/think on|off    reason before answering, or not\n"
    "/budget N        reasoning tokens before the answer is forced; off = no limit\n"
    "/system TEXT     set the system message and start anew\n"
    "/quit            leave (or Ctrl-D)\n"
    "Several lines: end a line with \\, or write \"\"\" before and behind the text.\n"
    "Ctrl-C stops the answer; the conversation goes on.\n";

struct Options {
  ModelOptions model;
  SamplingOptions sampling;
  std::string system;
  bool hide_thinking = false;
};

class Conversation {
 public:
  Conversation(Session session, GenerateOptions generate, std::string system, bool show_thinking)
      : session_(std::move(session)),
        generate_(std::move(generate)),
        system_(std::move(system)),
        show_thinking_(show_thinking) {
    reset();
  }

  int run() {
    const bool terminal = is_terminal(STDIN_FILENO) && is_terminal(STDOUT_FILENO);
    if (terminal) {
      fmt::print("{} on {}. /help lists the commands, Ctrl-D leaves.\n\n", session_.directory.filename().string(),
                 session_.engine->model().backend().name());
    }
    LineReader reader("> ");
    catch_interrupts();
    while (!quit_) {
      std::fflush(stdout);
      const std::optional<std::string> line = reader.read();
      if (take_interrupt()) {
        fmt::print("\n(/quit or Ctrl-D leaves)\n");
        continue;
      }
      if (!line.has_value()) break;
      if (line->find_first_not_of(" \t\r\n") == std::string::npos) continue;
      if (line->starts_with('/')) {
        command(*line);
      } else {
        messages_.push_back({{"role", "user"}, {"content", *line}});
        if (!answer()) messages_.erase(messages_.size() - 1);  // so that the user can go on from where it worked
      }
    }
    if (terminal) fmt::print("\n");
    return kFine;
  }

 private:
  void reset() {
    messages_ = text::Json::array();
    if (!system_.empty()) messages_.push_back({{"role", "system"}, {"content", system_}});
  }

  // Generates the assistant's turn for the messages so far and adds it to them.
  bool answer() {
    Result<engine::Request> request = session_.chat_request({{"messages", messages_}}, generate_);
    if (!request.ok()) return fail(request.status()), false;
    Printer printer(stdout, show_thinking_, wants_colour(STDOUT_FILENO));
    Result<engine::Outcome> outcome =
        generate(*session_.engine, std::move(*request), [&](const engine::Event& event) { printer.show(event); });
    printer.finish();
    if (!outcome.ok()) return fail(outcome.status()), false;
    if (is_terminal(STDERR_FILENO)) {
      const bool colour = wants_colour(STDERR_FILENO);
      const char* note = outcome->finish == engine::Finish::cancelled ? " · stopped"
                         : outcome->finish == engine::Finish::length  ? " · token limit reached"
                                                                      : "";
      fmt::print(stderr, "{}[{}{}]{}\n\n", colour ? "\x1b[2m" : "", speed_line(*outcome), note,
                 colour ? "\x1b[0m" : "");
    }
    messages_.push_back(
        {{"role", "assistant"}, {"content", outcome->answer}, {"reasoning_content", outcome->reasoning}});
    return true;
  }

  void command(const std::string& line) {
    const size_t space = line.find_first_of(" \t");
    const std::string name = line.substr(0, space);
    const size_t rest = space == std::string::npos ? space : line.find_first_not_of(" \t", space);
    const std::string argument = rest == std::string::npos ? "" : line.substr(rest);

    if (name == "/help") {
      fmt::print("{}", kHelp);
    } else if (name == "/quit" || name == "/exit") {
      quit_ = true;
    } else if (name == "/reset") {
      reset();
      fmt::print("(new conversation)\n");
    } else if (name == "/system") {
      system_ = argument;
      reset();
      fmt::print("(system message {}, new conversation)\n", system_.empty() ? "removed" : "set");
    } else if (name == "/retry") {
      if (messages_.empty() || messages_.back()["role"] != "assistant") {
        fmt::print("(there is no answer to try again)\n");
        return;
      }
      const text::Json old = messages_.back();
      messages_.erase(messages_.size() - 1);
      if (!answer()) messages_.push_back(old);
    } else if (name == "/think" && (argument == "on" || argument == "off")) {
      generate_.think = argument == "on";
      fmt::print("(reasoning {})\n", argument);
    } else if (name == "/budget" &&
               (argument == "off" || argument.find_first_not_of("0123456789") == std::string::npos) &&
               !argument.empty() && argument.size() < 10) {
      generate_.think_budget = argument == "off" ? -1 : std::atoll(argument.c_str());
      fmt::print("(reasoning budget {})\n", argument);
    } else {
      fmt::print("(no such command: {}; /help lists them)\n", line);
    }
  }

  Session session_;
  GenerateOptions generate_;
  std::string system_;
  bool show_thinking_;
  text::Json messages_;
  bool quit_ = false;
};

}  // namespace

Action add_chat(CLI::App& verb) {
  auto options = std::make_shared<Options>();
  options->model.add_to(verb);
  verb.add_option("--system", options->system, "System message");
  options->sampling.add_to(verb);
  verb.add_flag("--hide-thinking", options->hide_thinking, "Do not print the reasoning");
  return [options, &verb] {
    Result<Session> session = options->model.open();
    if (!session.ok()) return fail(session.status());
    return Conversation(std::move(session).value(), options->sampling.result(verb), options->system,
                        !options->hide_thinking)
        .run();
  };
}

}  // namespace zaya::app
