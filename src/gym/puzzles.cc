// Knights and knaves by trying every case; small sudoku by cells that have one digit left.
#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "gym/kinds.h"

namespace zaya::gym {
namespace {

// What one person says: about one other, or about two people.
struct Claim {
  enum class Kind { is_knight, is_knave, same, different, both_knaves, one_knight } kind;
  int first = 0, second = 0;
};

// People are counted from 0 and named by the letters of `names`, so that puzzles with few people are many.
std::string claim_text(const std::string& names, const Claim& claim) {
  const char a = names[static_cast<size_t>(claim.first)], b = names[static_cast<size_t>(claim.second)];
  switch (claim.kind) {
    case Claim::Kind::is_knight: return cat(a, " is a knight");
    case Claim::Kind::is_knave: return cat(a, " is a knave");
    case Claim::Kind::same: return cat(a, " and ", b, " are the same");
    case Claim::Kind::different: return cat(a, " and ", b, " are different");
    case Claim::Kind::both_knaves: return cat(a, " and ", b, " are knaves");
    default: return cat(a, " or ", b, " is a knight");
  }
}

bool is_true(const Claim& claim, int knights) {  // one bit per person
  const bool a = (knights >> claim.first & 1) != 0, b = (knights >> claim.second & 1) != 0;
  switch (claim.kind) {
    case Claim::Kind::is_knight: return a;
    case Claim::Kind::is_knave: return !a;
    case Claim::Kind::same: return a == b;
    case Claim::Kind::different: return a != b;
    case Claim::Kind::both_knaves: return !a && !b;
    default: return a || b;
  }
}

// The first person whose words do not fit who they are; nothing when all fit.
std::optional<int> misfit(const std::vector<Claim>& claims, int knights) {
  for (int i = 0; i < static_cast<int>(claims.size()); ++i) {
    if (is_true(claims[static_cast<size_t>(i)], knights) != ((knights >> i & 1) != 0)) return i;
  }
  return std::nullopt;
}

std::string roles(const std::string& names, int knights) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i)
    text += cat(i > 0 ? ", " : "", names[i], (knights >> i & 1) != 0 ? " knight" : " knave");
  return text;
}

// "A knight, B knave: B wrong" for every case up to the one where all fits.
Draft draw_knights_knaves(Rng& rng, int difficulty) {
  const int people = 2 + difficulty / 2;
  const bool simple = difficulty == 0 || difficulty == 2;
  const int cases = 1 << people;
  std::vector<char> letters = {'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H'};
  rng.shuffle(letters);
  std::string names(letters.begin(), letters.begin() + people);
  std::sort(names.begin(), names.end());
  for (;;) {
    std::vector<Claim> claims;
    for (int i = 0; i < people; ++i) {
      Claim claim;
      claim.kind = static_cast<Claim::Kind>(rng.small(0, simple ? 3 : 5));
      claim.first = rng.small(0, people - 2);
      claim.first += claim.first >= i ? 1 : 0;  // nobody says plainly what they are themselves
      claim.second = rng.small(0, people - 2);
      claim.second += claim.second >= claim.first ? 1 : 0;
      if (claim.first > claim.second && claim.kind >= Claim::Kind::same) std::swap(claim.first, claim.second);
      claims.push_back(claim);
    }
    int fitting = 0;
    for (int knights = 0; knights < cases; ++knights) fitting += misfit(claims, knights) ? 0 : 1;
    if (fitting != 1) continue;

    Lines lines;
    int knights = cases - 1;  // knights first, the last person changes fastest
    for (int tried = 0; tried < cases; ++tried) {
      knights = 0;
      for (int i = 0; i < people; ++i) knights |= (tried >> (people - 1 - i) & 1) == 0 ? 1 << i : 0;
      const auto wrong = misfit(claims, knights);
      lines.add(roles(names, knights),
                wrong ? cat(": ", names[static_cast<size_t>(*wrong)], " wrong") : std::string(": fits"));
      if (!wrong) break;
    }
    std::string prompt = "Knights tell the truth, knaves lie.";
    for (int i = 0; i < people; ++i)
      prompt +=
          cat(' ', names[static_cast<size_t>(i)], " says: ", claim_text(names, claims[static_cast<size_t>(i)]), ".");
    return {prompt + " Who is what? Answer like: A knight, B knave.", roles(names, knights), lines.take()};
  }
}

// Each person's letter with the next "knight" or "knave" behind it, in any order; everybody must be named, nobody
// twice.
std::string read_roles(std::string_view text) {
  std::string roles(26, ' ');
  const std::string small = lower(text);
  size_t who = 26;
  for (size_t i = 0; i < text.size();) {
    const auto letter = [&](size_t at) { return at < small.size() && small[at] >= 'a' && small[at] <= 'z'; };
    if (!letter(i)) {
      ++i;
      continue;
    }
    size_t end = i;
    while (letter(end)) ++end;
    const std::string_view word = std::string_view(small).substr(i, end - i);
    const bool knight = word == "knight", knave = word == "knave";
    if (knight || knave) {
      if (who == 26 || roles[who] != ' ') return {};
      roles[who] = knight ? 'T' : 'F';
      who = 26;
    } else if (end - i == 1 && text[i] >= 'A' && text[i] <= 'Z') {
      who = static_cast<size_t>(text[i] - 'A');
    } else if (word != "is" && word != "a" && word != "and" && word != "the") {
      return {};
    }
    i = end;
  }
  return roles;
}

bool verify_knights_knaves(const Problem& problem, std::string_view answer) {
  const std::string wanted = read_roles(problem.answer);
  return wanted.find_first_of("TF") != std::string::npos && read_roles(tidied(answer)) == wanted;
}

// 4x4 sudoku: rows, columns and 2x2 boxes hold 1 to 4; 0 is an empty cell.
using Grid = std::array<int, 16>;

// The digits that a cell's row, column and box hold, one bit each.
int seen_from(const Grid& grid, int cell) {
  int seen = 0;
  for (int other = 0; other < 16; ++other) {
    const bool row = other / 4 == cell / 4, column = other % 4 == cell % 4;
    const bool box = other / 8 == cell / 8 && other % 4 / 2 == cell % 4 / 2;
    if (other != cell && (row || column || box)) seen |= 1 << grid[static_cast<size_t>(other)];
  }
  return seen & 0b11110;
}

std::string digits(int bits) {
  std::string text;
  for (int digit = 1; digit <= 4; ++digit) {
    if ((bits >> digit & 1) != 0) text += static_cast<char>('0' + digit);
  }
  return text;
}

std::string grid_text(const Grid& grid) {
  std::string text;
  for (size_t i = 0; i < grid.size(); ++i) {
    if (i > 0 && i % 4 == 0) text += ' ';
    text += grid[i] == 0 ? '_' : static_cast<char>('0' + grid[i]);
  }
  return text;
}

// A full grid: rows of a pattern, shuffled in every way that keeps it right.
Grid full_grid(Rng& rng) {
  std::vector<int> names = {1, 2, 3, 4};
  rng.shuffle(names);
  const bool turn = rng.coin();
  const int rows = rng.small(0, 7), columns = rng.small(0, 7);
  const auto moved = [](int index, int how) {  // swaps inside each pair, and the pairs
    if ((how >> (index / 2) & 1) != 0) index ^= 1;
    return (how & 4) != 0 ? index ^ 2 : index;
  };
  constexpr int kPattern[2][16] = {{0, 1, 2, 3, 2, 3, 0, 1, 1, 0, 3, 2, 3, 2, 1, 0},
                                   {0, 1, 2, 3, 2, 3, 0, 1, 1, 2, 3, 0, 3, 0, 1, 2}};
  const bool second = rng.coin();
  Grid grid;
  for (int i = 0; i < 16; ++i) {
    const int row = moved(i / 4, rows), column = moved(i % 4, columns);
    const int at = turn ? column * 4 + row : row * 4 + column;
    grid[static_cast<size_t>(i)] = names[static_cast<size_t>(kPattern[second][at])];
  }
  return grid;
}

// Cells are named by row and column, "23" is row 2, column 3. "23: 124 3" says that 1, 2 and 4 are seen, so 3 it is.
Draft draw_mini_sudoku(Rng& rng, int difficulty) {
  const Grid solution = full_grid(rng);
  Grid given = solution;
  std::vector<size_t> cells;
  for (size_t i = 0; i < 16; ++i) cells.push_back(i);
  rng.shuffle(cells);
  // A cell may be emptied when, with all emptied before, cells with one digit left still lead to the solution.
  const auto solve = [&](Grid grid, Lines* lines) {
    for (bool found = true; found;) {
      found = false;
      for (int cell = 0; cell < 16; ++cell) {
        const int seen = seen_from(grid, cell);
        if (grid[static_cast<size_t>(cell)] != 0 || digits(seen).size() != 3) continue;
        const int digit = digits(~seen)[0] - '0';
        grid[static_cast<size_t>(cell)] = digit;
        found = true;
        if (lines) lines->add(cell / 4 + 1, cell % 4 + 1, ": ", digits(seen), ' ', digit);
      }
    }
    return grid == solution;
  };
  int empty = 0;
  const int wanted = 2 + 2 * difficulty;
  for (const size_t cell : cells) {
    if (empty == wanted) break;
    Grid next = given;
    next[cell] = 0;
    if (!solve(next, nullptr)) continue;
    given = next;
    ++empty;
  }
  Lines lines;
  solve(given, &lines);
  return {cat("Fill the 4x4 sudoku ", grid_text(given), "."), grid_text(solution), lines.take()};
}

// Sixteen digits that keep the rules and the digits given.
bool verify_mini_sudoku(const Problem& problem, std::string_view answer) {
  const size_t start = problem.prompt.rfind("sudoku ");
  if (start == std::string::npos) return false;
  const auto cells = [](std::string_view text, bool gaps) {
    std::string found;
    for (const char c : text) {
      if ((c >= '1' && c <= '4') || (gaps && c == '_')) {
        found += c;
      } else if (std::string_view(" \n\t\r,;/|[]().&\\{}").find(c) == std::string_view::npos) {
        return std::string();
      }
    }
    return found;
  };
  const std::string given = cells(std::string_view(problem.prompt).substr(start + 7), true),
                    said = cells(answer, false);
  if (given.size() != 16 || said.size() != 16) return false;
  Grid grid;
  for (size_t i = 0; i < 16; ++i) {
    if (given[i] != '_' && given[i] != said[i]) return false;
    grid[i] = said[i] - '0';
  }
  for (int cell = 0; cell < 16; ++cell) {
    if ((seen_from(grid, cell) >> grid[static_cast<size_t>(cell)] & 1) != 0) return false;
  }
  return true;
}

}  // namespace

void add_puzzles(Environments& list) {
  static const SimpleEnvironment environments[] = {
      {"knights_knaves", "Who tells the truth",
       "people: 2, 2, 3, 3, 4; at 1, 3, 4 also claims that join two people by and, or", 4, draw_knights_knaves,
       verify_knights_knaves},
      {"mini_sudoku", "4x4 sudoku", "empty cells: 2, then two more per step", 4, draw_mini_sudoku, verify_mini_sudoku},
  };
  for (const Environment& environment : environments) list.push_back(&environment);
}

}  // namespace zaya::gym
