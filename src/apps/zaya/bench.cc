// zaya bench: tokens per second beside what the machine could do, all measured in one run.
#include <fmt/format.h>

#include <memory>

#include "apps/zaya/bench_figures.h"
#include "apps/zaya/common.h"
#include "apps/zaya/verbs.h"
#include "cpu/topology.h"

namespace zaya::app {
namespace {

struct Options {
  ModelOptions model;
  std::string synthetic;
  std::vector<int64_t> prompts{512}, parallel{1}, contexts{0};
  BenchOptions bench;
  bool json = false;
};

// The formats that experts and head lie in: "q4, head q8".
std::string format_name(const model::Model& model) {
  return fmt::format("{}, head {}", ops::weight_type_name(model.weights().layers[0].experts[0].gate.type),
                     ops::weight_type_name(model.weights().head.exact.type));
}

std::string model_name(const Options& options) {
  if (!options.synthetic.empty()) return "shape " + options.synthetic + ", random weights";
  const std::filesystem::path given(options.model.model);
  return given.empty() ? "embedded model" : (given.has_filename() ? given : given.parent_path()).filename().string();
}

text::Json spread_json(const Spread& spread) {
  return {{"median", spread.median}, {"lowest", spread.lowest}, {"highest", spread.highest}};
}

// Each ceiling over all repetitions of all figures.
Spread read_ceiling(const std::vector<Figure>& figures) {
  std::vector<double> values;
  for (const Figure& f : figures) {
    for (const Figure::Repeat& r : f.repeats) values.push_back(r.ceilings.read);
  }
  return Spread::of(std::move(values));
}

Spread peak_ceiling(const std::vector<Figure>& figures, size_t peak) {
  std::vector<double> values;
  for (const Figure& f : figures) {
    for (const Figure::Repeat& r : f.repeats) values.push_back(r.ceilings.peaks[peak].op_per_s);
  }
  return Spread::of(std::move(values));
}

text::Json report(const Options& options, const model::Model& model, const std::vector<Figure>& figures) {
  text::Json result{{"machine",
                     {{"processor", cpu::processor_model()},
                      {"isa", cpu::isa_name(cpu::best_isa())},
                      {"supported_isa", cpu::isa_name(cpu::supported_isa())},
                      {"threads", model.backend().threads()}}},
                    {"model", model_name(options)},
                    {"format", format_name(model)},
                    {"backend", model.backend().name()},
                    {"read_bandwidth", spread_json(read_ceiling(figures))},
                    {"peaks", text::Json::object()},
                    {"figures", text::Json::array()}};
  if (figures.empty()) return result;
  const std::vector<ops::Peak>& peaks = figures[0].repeats[0].ceilings.peaks;
  for (size_t i = 0; i < peaks.size(); ++i) result["peaks"][peaks[i].name] = spread_json(peak_ceiling(figures, i));
  for (const Figure& f : figures) {
    text::Json entry{{"what", f.what},
                     {"tokens_per_second", spread_json(f.rate())},
                     {"bytes_per_token", f.bytes_per_token},
                     {"ops_per_token", f.ops_per_token},
                     {"share_of_bandwidth", spread_json(f.read_share())},
                     {"share_of_peak", text::Json::object()},
                     {"repeats", text::Json::array()}};
    for (size_t i = 0; i < peaks.size(); ++i) entry["share_of_peak"][peaks[i].name] = spread_json(f.peak_share(i));
    for (const Figure::Repeat& r : f.repeats) {
      text::Json repeat{{"tokens_per_second", r.tokens_per_second}, {"read_bandwidth", r.ceilings.read}};
      for (const ops::Peak& p : r.ceilings.peaks) repeat["peaks"][p.name] = p.op_per_s;
      entry["repeats"].push_back(std::move(repeat));
    }
    result["figures"].push_back(std::move(entry));
  }
  return result;
}

std::string percent(const Spread& share) {
  return fmt::format("{:.0f} % ({:.0f}–{:.0f})", 100 * share.median, 100 * share.lowest, 100 * share.highest);
}

void print(const Options& options, const model::Model& model, const std::vector<Figure>& figures) {
  fmt::print("{}\n{} · {} threads · weights {}\n", cpu::processor_model(), model.backend().name(),
             model.backend().threads(), format_name(model));
  if (figures.empty()) return;
  const std::vector<ops::Peak>& peaks = figures[0].repeats[0].ceilings.peaks;
  const Spread read = read_ceiling(figures);
  fmt::print("read bandwidth {:.1f} GB/s ({:.1f}–{:.1f})", read.median / 1e9, read.lowest / 1e9, read.highest / 1e9);
  for (size_t i = 0; i < peaks.size(); ++i) {
    const Spread peak = peak_ceiling(figures, i);
    fmt::print(" · {} {:.2f} Top/s ({:.2f}–{:.2f})", peaks[i].name, peak.median / 1e12, peak.lowest / 1e12,
               peak.highest / 1e12);
  }
  fmt::print("\nMedians (lowest–highest) of {} repetitions; a share is of the ceilings right before and after it.\n",
             options.bench.repeat);
  for (const Figure& f : figures) {
    const Spread rate = f.rate();
    fmt::print("\n{}\n  {:.1f} tok/s ({:.1f}–{:.1f})\n", f.what, rate.median, rate.lowest, rate.highest);
    fmt::print("  {}B a token: {} of the read bandwidth\n", scaled(f.bytes_per_token), percent(f.read_share()));
    for (size_t i = 0; i < peaks.size(); ++i) {
      fmt::print("{}{} of {}", i == 0 ? fmt::format("  {}op a token: ", scaled(f.ops_per_token)) : ", ",
                 percent(f.peak_share(i)), peaks[i].name);
    }
    fmt::print("\n");
  }
}

Status run(const Options& options) {
  ZAYA_ASSIGN(const std::unique_ptr<model::Model> model, load_or_synthesise(options.model, options.synthetic));
  ZAYA_ASSIGN(const std::unique_ptr<CeilingProbe> probe,
              CeilingProbe::make(model->backend().threads(), cpu::best_isa()));
  Bench bench(*model, *probe, options.bench);
  std::vector<Figure> figures;
  for (int64_t prompt : options.prompts) {
    if (prompt <= 0) continue;
    ZAYA_ASSIGN(figures.emplace_back(), bench.prefill(prompt));
  }
  for (int64_t context : options.contexts) {
    for (int64_t parallel : options.parallel) {
      if (parallel <= 0) continue;
      ZAYA_ASSIGN(figures.emplace_back(), bench.decode(parallel, context));
    }
  }
  if (options.json) {
    fmt::print("{}\n", json_text(report(options, *model, figures), 2));
  } else {
    print(options, *model, figures);
  }
  return Status();
}

}  // namespace

Action add_bench(CLI::App& verb) {
  auto options = std::make_shared<Options>();
  options->model.add_to(verb);
  add_synthetic(verb, options->synthetic);
  verb.add_option("--prompt", options->prompts, "Lengths of prompts; 0 for none")->delimiter(',');
  verb.add_option("--parallel", options->parallel, "Numbers of sequences that decode together; 0 for none")
      ->delimiter(',');
  verb.add_option("--context", options->contexts, "Tokens in the cache before decoding")->delimiter(',');
  verb.add_option("--tokens", options->bench.tokens, "Tokens to decode per repetition")->check(CLI::Range(1, 100000));
  verb.add_option("--chunk", options->bench.chunk, "Prompt tokens per step")->check(CLI::Range(1, 100000));
  verb.add_option("--repeat", options->bench.repeat, "Repetitions; medians and spreads are shown")
      ->check(CLI::Range(1, 1000));
  verb.add_flag("--json", options->json, "Machine-readable");
  return [options] {
    const Status status = run(*options);
    return status.ok() ? kFine : fail(status);
  };
}

}  // namespace zaya::app
