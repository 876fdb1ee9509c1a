// Asks a ZAYA1 model one question and streams its answer: ask MODEL QUESTION
#include <zaya/zaya.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: ask MODEL QUESTION\n";
    return 2;
  }
  zaya::Result<zaya::Model> model = zaya::Model::load(argv[1]);
  if (!model.ok()) {
    std::cerr << model.status().to_string() << '\n';
    return 1;
  }

  zaya::GenerateOptions options;
  options.temperature = 0;
  options.think_budget = 512;
  const auto show = [](const zaya::Piece& piece) {
    if (!piece.reasoning) std::cout << piece.text << std::flush;
  };
  const zaya::Result<zaya::Reply> reply = model->chat({{"user", argv[2]}}, options, show);
  if (!reply.ok()) {
    std::cerr << reply.status().to_string() << '\n';
    return 1;
  }
  std::cout << '\n';
  std::cerr << reply->new_tokens << " tokens, " << reply->reasoning_tokens << " of them reasoning\n";
}
