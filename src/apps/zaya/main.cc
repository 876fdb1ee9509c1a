// zaya: dispatches to one file per verb.
#include <string>
#include <vector>

#include "apps/zaya/verbs.h"

int main(int argc, char** argv) {
  using zaya::app::Action;
  struct Verb {
    const char* name;
    const char* description;
    const char* example;
    Action (*add)(CLI::App&);
  };
  const Verb verbs[] = {
      {"run", "Answer one question", "zaya run -p \"What is 47 * 86?\"", zaya::app::add_run},
      {"chat", "Hold a conversation in the terminal", "zaya chat path/to/ZAYA1-8B", zaya::app::add_chat},
      {"solve", "Work on one problem with Markovian RSA: many rollouts, and rounds that aggregate their ends",
       "zaya solve -p \"What is 47 * 86?\"", zaya::app::add_solve},
      {"eval", "Measure accuracy on sets of problems, with intervals, by any strategy",
       "zaya eval --set gym:addition --difficulty 0-2 -n 20 --equal-tokens --out runs/addition", zaya::app::add_eval},
      {"serve", "Answer over HTTP: OpenAI's and Anthropic's APIs", "zaya serve path/to/ZAYA1-8B --port 8080",
       zaya::app::add_serve},
      {"inspect", "Say what a checkpoint's files hold, and what is wrong with them", "zaya inspect path/to/ZAYA1-8B",
       zaya::app::add_inspect},
      {"logits", "Write the logits of every position to a file",
       "zaya logits path/to/model --tokens 2,5,9 --out logits.safetensors", zaya::app::add_logits},
      {"tokenize", "Turn text into token ids, or ids into text", "zaya tokenize -p \"Hello, world\"",
       zaya::app::add_tokenize},
      {"template", "Render a conversation through a chat template", "zaya template --messages conversation.json",
       zaya::app::add_template},
      {"synth", "Write a random checkpoint of a given shape", "zaya synth /tmp/zaya-8b --shape 8b",
       zaya::app::add_synth},
      {"pack", "Write a model with its weights packed for fast, small reading",
       "zaya pack path/to/ZAYA1-8B zaya1-8b-q4 --format q4", zaya::app::add_pack},
      {"gym", "Tasks whose answers a program can check: list them, sample problems, check answers",
       "zaya gym sample addition --difficulty 3", zaya::app::add_gym},
      {"train", "Train models: runs zaya-train, which ./dev train builds", "zaya train run recipes/nano.toml",
       zaya::app::add_train},
      {"doctor", "Say what this machine has, which kernels are used and what limits the speed",
       "zaya doctor path/to/model", zaya::app::add_doctor},
      {"bench", "Measure speed beside this machine's own limits", "zaya bench --synthetic 8b --format q4",
       zaya::app::add_bench},
  };

  CLI::App app(
      "Run ZAYA1 reasoning models. MODEL is a directory in Hugging Face form; left out, it is the small model "
      "that comes with the program.");
  app.name("zaya");
  app.set_version_flag("--version", std::string("zaya ") + ZAYA_VERSION);
  app.require_subcommand(1);
  const auto say_what_to_do = [](const CLI::App*, const CLI::Error& error) {
    return std::string("zaya: ") + error.what() + " (see zaya --help, or --help behind a verb)\n";
  };
  app.failure_message(say_what_to_do);

  int exit_code = 0;
  for (const Verb& verb : verbs) {
    CLI::App* sub = app.add_subcommand(verb.name, verb.description);
    sub->footer(std::string("Example: ") + verb.example);
    sub->failure_message(say_what_to_do);
    sub->callback([action = verb.add(*sub), &exit_code] { exit_code = action(); });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;  // --help and --version are fine; everything else is misuse
  }
  return exit_code;
}
