// Shortest paths by breadth-first search.
#include <algorithm>
#include <string>
#include <vector>

#include "gym/kinds.h"

namespace zaya::gym {
namespace {

using Edges = std::vector<std::string>;  // "AB"

bool joined(const Edges& edges, char a, char b) {
  return std::any_of(edges.begin(), edges.end(),
                     [&](const std::string& e) { return (e[0] == a && e[1] == b) || (e[0] == b && e[1] == a); });
}

std::string neighbours(const Edges& edges, char node) {
  std::string list;
  for (const std::string& edge : edges) {
    if (edge[0] == node) list += edge[1];
    if (edge[1] == node) list += edge[0];
  }
  return list;
}

// The shortest path, or "" when there is none. The trace has one line per path that is made longer: "AB: ABC ABE" goes
// on to the neighbours that no path has reached, in the order of the edges.
std::string search(const Edges& edges, char from, char to, Lines& lines) {
  std::vector<std::string> paths = {std::string(1, from)};
  std::string reached(1, from);
  for (size_t next = 0; next < paths.size(); ++next) {
    const std::string path = paths[next];
    std::string line, found;
    for (const char node : neighbours(edges, path.back())) {
      if (reached.find(node) != std::string::npos) continue;
      reached += node;
      paths.push_back(path + node);
      line += ' ' + paths.back();
      if (node == to) found = paths.back();
    }
    lines.add(path, ":", line.empty() ? " none" : line);
    if (!found.empty()) {
      lines.add(found);
      return found;
    }
  }
  return "";
}

Draft draw_shortest_path(Rng& rng, int difficulty) {
  const size_t nodes = static_cast<size_t>(4 + difficulty);
  for (;;) {
    std::vector<char> names;
    for (size_t i = 0; i < 26; ++i) names.push_back(static_cast<char>('A' + i));
    rng.shuffle(names);
    names.resize(nodes);
    // A random tree keeps it connected; a few more edges make ways around.
    Edges edges;
    for (size_t i = 1; i < nodes; ++i) edges.push_back({names[static_cast<size_t>(rng.below(i))], names[i]});
    for (size_t more = 1 + nodes / 4; more > 0; --more) {
      const char a = rng.pick(names), b = rng.pick(names);
      if (a != b && !joined(edges, a, b)) edges.push_back({a, b});
    }
    rng.shuffle(edges);
    const char from = rng.pick(names), to = rng.pick(names);
    if (from == to) continue;
    Lines lines;
    const std::string path = search(edges, from, to, lines);
    if (path.size() < (difficulty == 0 ? 2u : 3u) || path.size() > 5) continue;
    return {cat("Edges: ", join(edges, ", "), ". Shortest path from ", from, " to ", to, ", like ABC?"), path,
            lines.take()};
  }
}

// Any path along edges from the one end to the other that is as short as the shortest; "A-B-C", "A -> B", "A, B" are
// fine.
bool verify_shortest_path(const Problem& problem, std::string_view answer) {
  const std::string_view prompt = problem.prompt;
  const size_t edges_at = prompt.find("Edges: "), from_at = prompt.find(" from ");
  if (edges_at == std::string_view::npos || from_at == std::string_view::npos || from_at + 11 >= prompt.size())
    return false;
  Edges edges;
  for (size_t at = edges_at + 7; at + 1 < prompt.size() && edges.size() < 200; at += 4) {
    edges.emplace_back(prompt.substr(at, 2));
    if (at + 2 >= prompt.size() || prompt[at + 2] != ',') break;
  }
  const char from = prompt[from_at + 6], to = prompt[from_at + 11];
  std::string path;
  for (const char c : tidied(answer)) {
    if (c >= 'A' && c <= 'Z') {
      path += c;
    } else if (std::string_view(" ,;->()[]").find(c) == std::string_view::npos) {
      return false;
    }
  }
  if (path.size() < 2 || path.size() > 26 || path.front() != from || path.back() != to) return false;
  for (size_t i = 1; i < path.size(); ++i) {
    if (!joined(edges, path[i - 1], path[i])) return false;
  }
  Lines ignored;
  return path.size() == search(edges, from, to, ignored).size();
}

}  // namespace

void add_graphs(Environments& list) {
  static const SimpleEnvironment environments[] = {
      {"shortest_path", "The shortest way through a graph", "nodes: 4, then one more per step", 6, draw_shortest_path,
       verify_shortest_path},
  };
  for (const Environment& environment : environments) list.push_back(&environment);
}

}  // namespace zaya::gym
