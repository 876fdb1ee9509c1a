// Plots as SVG, without a library: bars and lines with intervals, shares from 0 to 100 %.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "eval/report.h"

namespace zaya::eval {
namespace {

// Colours that stay apart for the colour-blind (Okabe and Ito).
constexpr std::array<const char*, 8> kColours{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                              "#56b4e9", "#e69f00", "#000000", "#f0e442"};

constexpr double kLeft = 56, kTop = 40, kPlotHeight = 260;

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      default: out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

double height_of(double share) { return kTop + (1 - share) * kPlotHeight; }

// The beginning: background, title, the axis of shares.
std::string begin(const std::string& title, double width, double height) {
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
      "<text x=\"{2:.0f}\" y=\"22\" font-size=\"14\">{3}</text>\n",
      width, height, kLeft, escaped(title));
  for (int tick = 0; tick <= 100; tick += 20) {
    const double y = height_of(tick / 100.0);
    out += fmt::format(
        "<line x1=\"{:.0f}\" x2=\"{:.0f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#ddd\"/>"
        "<text x=\"{:.0f}\" y=\"{:.1f}\" text-anchor=\"end\">{} %</text>\n",
        kLeft, width - 12, y, y, kLeft - 6, y + 4, tick);
  }
  return out;
}

// A long label in lines of some letters, broken at blanks and commas.
std::vector<std::string> wrapped(const std::string& text, size_t width) {
  std::vector<std::string> lines{""};
  std::string word;
  const auto end_word = [&] {
    if (!lines.back().empty() && lines.back().size() + word.size() > width) lines.emplace_back();
    lines.back() += word;
    word.clear();
  };
  for (char c : text) {
    word += c;
    if (c == ' ' || c == ',' || c == ':') end_word();
  }
  end_word();
  return lines;
}

}  // namespace

std::string bars_svg(const std::string& title, const std::vector<Bar>& bars) {
  const double step = 130, width = std::max(420.0, kLeft + 12 + step * static_cast<double>(bars.size()));
  size_t lines = 1;
  for (const Bar& bar : bars) lines = std::max(lines, wrapped(bar.label, 18).size());
  const double height = kTop + kPlotHeight + 34 + 15 * static_cast<double>(lines);
  std::string out = begin(title, width, height);
  for (size_t i = 0; i < bars.size(); ++i) {
    const Bar& bar = bars[i];
    const double x = kLeft + step * (static_cast<double>(i) + 0.5);
    const double low = height_of(bar.share.interval.low), high = height_of(bar.share.interval.high);
    out += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"70\" height=\"{:.1f}\" fill=\"{}\" fill-opacity=\"0.6\"/>"
        "<path d=\"M{:.1f} {:.1f}V{:.1f}m-6 0h12m-6 0\" stroke=\"#222\" stroke-width=\"2\" fill=\"none\"/>"
        "<path d=\"M{:.1f} {:.1f}h12\" stroke=\"#222\" stroke-width=\"2\"/>"
        "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"start\">{:.1f}</text>\n",
        x - 35, height_of(bar.share.value), height_of(0) - height_of(bar.share.value), kColours[i % kColours.size()], x,
        low, high, x - 6, low, x + 8, height_of(bar.share.value) - 4, 100 * bar.share.value);
    double y = height_of(0) + 18;
    for (const std::string& line : wrapped(bar.label, 18)) {
      out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", x, y, escaped(line));
      y += 15;
    }
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\" fill=\"#666\">{}</text>\n", x, y,
                       escaped(bar.note));
  }
  return out + "</svg>\n";
}

std::string lines_svg(const std::string& title, const std::string& x_label, const std::vector<Series>& series) {
  const double width = 640, legend = 18 * static_cast<double>(series.size());
  const double bottom = kTop + kPlotHeight, height = bottom + 46 + legend;
  double least = 0, most = 1;
  bool first = true;
  for (const Series& one : series) {
    for (double x : one.x) {
      least = first ? x : std::min(least, x);
      most = first ? x : std::max(most, x);
      first = false;
    }
  }
  const double span = most > least ? most - least : 1;
  std::string out = begin(title, width, height);
  const auto x_of = [&](double x, size_t index) {
    // A little apart, so that intervals of several series do not cover each other.
    return kLeft + 24 + (x - least) / span * (width - kLeft - 72) + 4 * static_cast<double>(index);
  };
  std::vector<double> ticks;
  for (const Series& one : series) ticks.insert(ticks.end(), one.x.begin(), one.x.end());
  std::sort(ticks.begin(), ticks.end());
  ticks.erase(std::unique(ticks.begin(), ticks.end()), ticks.end());
  for (double tick : ticks) {
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:g}</text>\n", x_of(tick, 0),
                       bottom + 18, tick);
  }
  out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\" fill=\"#666\">{}</text>\n", width / 2,
                     bottom + 34, escaped(x_label));
  for (size_t i = 0; i < series.size(); ++i) {
    const Series& one = series[i];
    const char* colour = kColours[i % kColours.size()];
    std::string points;
    for (size_t j = 0; j < std::min(one.x.size(), one.y.size()); ++j) {
      const double x = x_of(one.x[j], i);
      points += fmt::format("{:.1f},{:.1f} ", x, height_of(one.y[j].value));
      out += fmt::format(
          "<path d=\"M{0:.1f} {1:.1f}V{2:.1f}\" stroke=\"{3}\" stroke-opacity=\"0.5\"/><circle cx=\"{0:.1f}\" "
          "cy=\"{4:.1f}\" r=\"3\" fill=\"{3}\"/>\n",
          x, height_of(one.y[j].interval.low), height_of(one.y[j].interval.high), colour, height_of(one.y[j].value));
    }
    const double y = bottom + 52 + 18 * static_cast<double>(i);
    out += fmt::format(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>"
        "<rect x=\"{:.0f}\" y=\"{:.1f}\" width=\"14\" height=\"4\" fill=\"{}\"/>"
        "<text x=\"{:.0f}\" y=\"{:.1f}\">{}</text>\n",
        points, colour, kLeft, y - 6, colour, kLeft + 20, y, escaped(one.name));
  }
  return out + "</svg>\n";
}

}  // namespace zaya::eval
