// zaya doctor: what this machine has, which kernels are used for which weights, and what limits the speed.
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include "apps/zaya/bench_figures.h"
#include "apps/zaya/common.h"
#include "apps/zaya/verbs.h"
#include "cpu/topology.h"
#include "ops/packed/layout.h"

namespace zaya::app {
namespace {

struct Options {
  ModelOptions model;
  std::string synthetic;
  int64_t prompt = 256;
  bool json = false;
};

std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// "MemTotal:  24 kB" of /proc/meminfo, in bytes; 0 when it is not there.
int64_t meminfo(const std::string& key) {
  std::ifstream file("/proc/meminfo");
  for (std::string name, line; file >> name && std::getline(file, line);) {
    int64_t kilobytes = 0;
    if (name == key + ":" && std::istringstream(line) >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

// The bracketed choice of "always [madvise] never"; empty when there is none.
std::string huge_pages() {
  const std::string line = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
  const size_t open = line.find('['), close = line.find(']');
  return open == line.npos || close == line.npos ? std::string() : line.substr(open + 1, close - open - 1);
}

double load_average() {
  double load = 0;
  return ::getloadavg(&load, 1) == 1 ? load : 0;
}

std::string bytes_text(double bytes) { return scaled(bytes) + "B"; }

std::string cache_size(int64_t bytes) {
  return bytes >= 1 << 20 ? fmt::format("{} MiB", bytes >> 20) : fmt::format("{} KiB", bytes >> 10);
}

// What the machine offers, before anything is measured.
text::Json machine_json(int threads) {
  const cpu::Topology& t = cpu::machine();
  const char* cap = std::getenv("ZAYA_ISA");
  text::Json caches = text::Json::array();
  for (const cpu::Cache& c : t.caches) {
    caches.push_back({{"level", c.level}, {"kind", c.kind}, {"bytes", c.bytes}, {"shared_by", c.processors}});
  }
  return {{"processor", cpu::processor_model()},
          {"supported_isa", cpu::isa_name(cpu::supported_isa())},
          {"isa", cpu::isa_name(cpu::best_isa())},
          {"ZAYA_ISA", cap == nullptr ? text::Json() : text::Json(cap)},
          {"sockets", t.sockets()},
          {"nodes", t.nodes()},
          {"cores", t.cores()},
          {"processors", t.processors.size()},
          {"caches", caches},
          {"memory", meminfo("MemTotal")},
          {"memory_available", meminfo("MemAvailable")},
          {"huge_pages", huge_pages()},
          {"load_average", load_average()},
          {"threads", threads}};
}

struct Class {
  const char* name;
  const ops::Matrix* matrix;        // a typical one
  const ops::Head* head = nullptr;  // whose matrix it is, if it is the head's

  std::string kernel(const ops::Backend& backend, int64_t n) const {
    return head != nullptr ? backend.kernel_for_head(*head, n) : backend.kernel_for(*matrix, n);
  }
  std::string format() const {
    const char* exact = ops::weight_type_name(matrix->type);
    return head != nullptr && head->coarse.data != nullptr ? std::string("q3, ") + exact : exact;
  }
};

std::vector<Class> classes(const model::Weights& w) {
  const model::LayerWeights& l = w.layers[0];
  return {{"experts", &l.experts[0].gate},
          {"attention", &l.q},
          {"convolution", &l.cca.grouped},
          {"router", &l.router.down},
          {"head", &w.head.exact, &w.head}};
}

constexpr int64_t kRowCounts[] = {1, 4, 16, 512};

text::Json kernels_json(const model::Model& model) {
  text::Json result = text::Json::array();
  for (const Class& c : classes(model.weights())) {
    text::Json kernels = text::Json::object();
    for (int64_t n : kRowCounts) kernels[std::to_string(n)] = c.kernel(model.backend(), n);
    result.push_back({{"class", c.name},
                      {"format", c.format()},
                      {"rows", c.matrix->rows},
                      {"cols", c.matrix->cols},
                      {"kernel", kernels}});
  }
  return result;
}

// What a measurement reached, what the ceilings would have allowed, and which of them is the lower one.
struct Verdict {
  std::string what;
  double reached = 0, expected = 0;  // tokens per second, medians
  double share = 0;                  // the median of the paired shares of the lower ceiling
  std::string limit;                 // the lower ceiling
  std::vector<std::string> remarks;
};

double last_cache() {
  double bytes = 0;
  for (const cpu::Cache& c : cpu::machine().caches) bytes = std::max(bytes, static_cast<double>(c.bytes));
  return bytes;
}

// `peak`: the fastest arithmetic that this measurement's products may use.
Verdict judge(const Figure& figure, size_t peak, int threads) {
  const auto rows = static_cast<double>(figure.tokens_per_step);
  const double step_bytes = figure.bytes_per_token * rows, step_ops = figure.ops_per_token * rows;
  const bool cached = step_bytes < last_cache() / 2;
  std::vector<double> expected, shares;
  int memory = 0;  // repetitions that memory bounds
  for (const Figure::Repeat& r : figure.repeats) {
    const double by_bytes = r.ceilings.read / figure.bytes_per_token;
    const double by_ops = r.ceilings.peaks[peak].op_per_s / figure.ops_per_token;
    if (!cached && by_bytes < by_ops) ++memory;
    expected.push_back(cached ? by_ops : std::min(by_bytes, by_ops));
    shares.push_back(r.tokens_per_second / expected.back());
  }
  const bool by_memory = 2 * memory > static_cast<int>(figure.repeats.size());
  Verdict verdict{.what = figure.what,
                  .reached = figure.rate().median,
                  .expected = Spread::of(expected).median,
                  .share = Spread::of(shares).median,
                  .limit = by_memory ? "read bandwidth" : figure.repeats[0].ceilings.peaks[peak].name};

  const auto remark = [&](std::string sentence) { verdict.remarks.push_back(std::move(sentence)); };
  if (cached)
    remark(
        fmt::format("a step reads {}, which the last cache holds: memory does not limit it", bytes_text(step_bytes)));
  if (verdict.share > 0.6) return verdict;
  const int cores = cpu::machine().cores();
  if (threads > cores) remark(fmt::format("{} threads share {} cores: use --threads {}", threads, cores, cores));
  if (const double load = load_average(); load > 1.5 * cores) {
    remark(fmt::format("the machine is busy (load {:.1f}): all threads wait for one that is preempted", load));
  }
  if (step_ops < 1e9) remark("a step is too small to keep the threads busy: starting and joining work takes the time");
  if (verdict.remarks.empty()) {
    remark(by_memory ? "the rest goes to waiting between operations and to arithmetic"
                     : "the rest goes to expanding weights, attention and passes between products");
  }
  return verdict;
}

text::Json verdict_json(const Verdict& v) {
  return {{"what", v.what},         {"tokens_per_second", v.reached},
          {"expected", v.expected}, {"share", v.share},
          {"limit", v.limit},       {"remarks", v.remarks}};
}

void print_machine(const text::Json& m) {
  const cpu::Topology& t = cpu::machine();
  const auto line = [](const char* name, const std::string& value) { fmt::print("{:<14}{}\n", name, value); };
  const auto counted = [](int count, const char* what) {
    return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
  };
  line("processor", m["processor"].get<std::string>());
  const std::string isa = m["isa"], supported = m["supported_isa"];
  line("instructions", isa == supported ? isa : fmt::format("{} (ZAYA_ISA; the processor has {})", isa, supported));
  const auto processors = static_cast<int>(t.processors.size());
  line("topology", fmt::format("{}, {}, {}{}, {}", counted(t.sockets(), "socket"), counted(t.cores(), "core"),
                               counted(processors, "processor"), processors > t.cores() ? " (SMT)" : "",
                               counted(t.nodes(), "NUMA node")));
  std::string caches;
  for (const cpu::Cache& c : t.caches) {
    if (c.kind == "Instruction") continue;
    caches += fmt::format("{}L{} {}{}", caches.empty() ? "" : ", ", c.level, cache_size(c.bytes),
                          c.processors > 1 ? fmt::format(" for {} processors", c.processors) : "");
  }
  line("caches", caches.empty() ? "not said" : caches);
  line("memory", fmt::format("{}, {} available", bytes_text(m["memory"].get<double>()),
                             bytes_text(m["memory_available"].get<double>())));
  const std::string huge = m["huge_pages"];
  line("huge pages", huge == "never" ? "never: weights lie on small pages, which costs speed; as root: echo madvise > "
                                       "/sys/kernel/mm/transparent_hugepage/enabled"
                     : huge.empty()  ? "not said"
                                     : huge);
  line("load", fmt::format("{:.1f}", m["load_average"].get<double>()));
  line("threads", fmt::format("{}", m["threads"].get<int>()));
}

void print_kernels(const text::Json& kernels) {
  fmt::print("\n{:<14}{:<8}", "kernels", "format");
  for (int64_t n : kRowCounts) fmt::print("{:<24}", n == 1 ? "1 row" : fmt::format("{} rows", n));
  fmt::print("\n");
  for (const text::Json& k : kernels) {
    fmt::print("  {:<12}{:<8}", k["class"].get<std::string>(), k["format"].get<std::string>());
    for (int64_t n : kRowCounts) fmt::print("{:<24}", k["kernel"][std::to_string(n)].get<std::string>());
    fmt::print("\n");
  }
}

Status run(const Options& options) {
  ZAYA_ASSIGN(const std::unique_ptr<model::Model> model, load_or_synthesise(options.model, options.synthetic));
  const int threads = model->backend().threads();
  const text::Json machine = machine_json(threads), kernels = kernels_json(*model);
  ZAYA_ASSIGN(const std::unique_ptr<CeilingProbe> probe, CeilingProbe::make(threads, cpu::best_isa()));
  Bench bench(*model, *probe, {.tokens = 16});
  ZAYA_ASSIGN(const Figure decode, bench.decode(1, 0));
  ZAYA_ASSIGN(const Figure prompt, bench.prefill(options.prompt));

  // Each may use the arithmetic that its experts' kernel is named after.
  const std::vector<ops::Peak>& peaks = decode.repeats[0].ceilings.peaks;
  const auto peak_of = [&](int64_t rows) {
    const std::string kernel = model->backend().kernel_for(model->weights().layers[0].experts[0].gate, rows);
    size_t peak = 0;
    for (const auto& [in_kernel, in_peak] : {std::pair("bf16 tiles", "bf16 tiles"),
                                             {"int8 tiles", "int8 tiles"},
                                             {"avx512 bf16", "bf16 vectors"},
                                             {"avx512 int8", "int8 vectors"},
                                             {"vnni int8", "int8 vectors"},
                                             {"avx2 int8", "int16"},
                                             {"avx2 15-bit", "int16"}}) {
      for (size_t i = 1; i < peaks.size(); ++i) {
        if (kernel.find(in_kernel) != kernel.npos && peaks[i].name.find(in_peak) != std::string::npos) peak = i;
      }
    }
    return peak;
  };
  const Verdict verdicts[] = {judge(decode, peak_of(1), threads), judge(prompt, peak_of(options.prompt), threads)};

  std::vector<double> reads;
  std::vector<std::vector<double>> arithmetic(peaks.size());
  for (const Figure* figure : {&decode, &prompt}) {
    for (const Figure::Repeat& r : figure->repeats) {
      reads.push_back(r.ceilings.read);
      for (size_t i = 0; i < peaks.size(); ++i) arithmetic[i].push_back(r.ceilings.peaks[i].op_per_s);
    }
  }
  const Spread read = Spread::of(reads);
  if (options.json) {
    text::Json result{{"machine", machine}, {"kernels", kernels}, {"read_bandwidth", read.median}};
    for (size_t i = 0; i < peaks.size(); ++i) result["peaks"][peaks[i].name] = Spread::of(arithmetic[i]).median;
    for (const Verdict& v : verdicts) result["verdicts"].push_back(verdict_json(v));
    fmt::print("{}\n", json_text(result, 2));
    return Status();
  }
  print_machine(machine);
  fmt::print("\nceilings      read {:.1f} GB/s ({:.1f}–{:.1f})", read.median / 1e9, read.lowest / 1e9,
             read.highest / 1e9);
  for (size_t i = 0; i < peaks.size(); ++i) {
    const Spread peak = Spread::of(arithmetic[i]);
    fmt::print(", {} {:.2f} Top/s ({:.2f}–{:.2f})", peaks[i].name, peak.median / 1e12, peak.lowest / 1e12,
               peak.highest / 1e12);
  }
  fmt::print("\n");
  print_kernels(kernels);
  for (const Verdict& v : verdicts) {
    fmt::print("\n{}\n  {:.1f} tok/s of the {:.1f} that {} allows: {:.0f} %\n", v.what, v.reached, v.expected, v.limit,
               100 * v.share);
    for (const std::string& remark : v.remarks) fmt::print("  {}\n", remark);
  }
  return Status();
}

}  // namespace

Action add_doctor(CLI::App& verb) {
  auto options = std::make_shared<Options>();
  options->model.add_to(verb);
  add_synthetic(verb, options->synthetic);
  verb.add_option("--prompt", options->prompt, "Length of the prompt that is measured")->check(CLI::Range(1, 100000));
  verb.add_flag("--json", options->json, "Machine-readable");
  return [options] {
    const Status status = run(*options);
    return status.ok() ? kFine : fail(status);
  };
}

}  // namespace zaya::app
