// Code that is right, wrong, and malicious.
#include "eval/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "eval/judge.h"

namespace zaya::eval {
namespace {

using testing::HasSubstr;

const SandboxLimits kSmall{.seconds = 20, .cpu_seconds = 1, .memory_bytes = int64_t{256} << 20, .output_bytes = 100000};

SandboxResult python(const std::string& code, const SandboxLimits& limits = kSmall, const std::string& input = "") {
  Result<SandboxResult> result =
      run_sandboxed({"/usr/bin/env", "python3", "-I", "-B", "main.py"}, input, {{"main.py", code}}, limits);
  EXPECT_TRUE(result.ok()) << result.status().to_string();
  return result.ok() ? std::move(*result) : SandboxResult{};
}

TEST(Sandbox, GivesInputTakesOutputAndCleansUp) {
  const SandboxResult result = python(
      "import os, sys\nprint(sys.stdin.read().upper(), end='')\nprint(os.getcwd(), file=sys.stderr)", kSmall, "abc");
  EXPECT_TRUE(result.fine()) << result.errors;
  EXPECT_EQ(result.output, "ABC");
  const std::string directory = result.errors.substr(0, result.errors.find('\n'));
  EXPECT_THAT(directory, HasSubstr("zaya-run-"));
  EXPECT_FALSE(std::filesystem::exists(directory));
  // Input that nobody reads, more than a pipe holds.
  EXPECT_TRUE(python("print(1)", kSmall, std::string(1 << 20, 'x')).fine());
  EXPECT_EQ(python("raise SystemExit(3)").status, 3);
}

TEST(Sandbox, EndsLoopsBySeconds) {
  const SandboxResult slept = python("import time\ntime.sleep(600)", {.seconds = 1.5});
  EXPECT_EQ(slept.ended, Ended::timed_out);
  const SandboxResult busy = python("while True: pass");
  EXPECT_NE(busy.ended, Ended::exited) << "CPU seconds are limited apart from the clock's";
}

TEST(Sandbox, HoldsMemoryFilesAndOutput) {
  const SandboxResult memory = python("x = bytearray(1 << 30)\nprint(len(x))");
  EXPECT_FALSE(memory.fine());
  EXPECT_THAT(memory.errors, HasSubstr("MemoryError"));
  SandboxLimits limits = kSmall;
  limits.file_bytes = 1000000;
  const SandboxResult file = python("open('big', 'wb').write(bytes(10000000))", limits);
  EXPECT_FALSE(file.fine());
  EXPECT_EQ(python("while True: print('x' * 1000)").ended, Ended::flooded);
  const SandboxResult errors =
      python("import sys\nfor i in range(5000): print('x' * 100, file=sys.stderr)\nprint('y')");
  EXPECT_TRUE(errors.fine()) << "a long complaint is cut, not punished";
  EXPECT_EQ(errors.output, "y\n");
  EXPECT_LE(errors.errors.size(), 16384u);
}

TEST(Sandbox, LeavesNoProcessBehind) {
  // A child that leaves its session and goes on.
  const SandboxResult result = python(
      "import os, sys, time\n"
      "if os.fork() == 0:\n"
      "    os.setsid()\n"
      "    os.close(1); os.close(2)\n"
      "    time.sleep(600)\n"
      "print('parent')\n");
  EXPECT_TRUE(result.fine()) << result.errors;
  if (!result.isolated) GTEST_SKIP() << "no process namespaces here";
  // The first process of its namespace has ended, so there can be no other.
  EXPECT_EQ(result.output, "parent\n");
}

TEST(Sandbox, SurvivesAForkBomb) {
  SandboxLimits limits = kSmall;
  limits.seconds = 4;
  limits.processes = 20;
  const SandboxResult bomb = python(
      "import os, time\nn = 0\ntry:\n    while n < 200:\n        if os.fork() == 0: time.sleep(600)\n        n += 1\n"
      "except OSError: pass\nprint(n)\n",
      limits);
  if (bomb.isolated) {
    EXPECT_TRUE(bomb.fine()) << bomb.errors;
    EXPECT_LE(std::strtol(bomb.output.c_str(), nullptr, 10), 20);
  }
  const SandboxResult endless =
      python("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n", limits);
  EXPECT_FALSE(endless.fine());
}

TEST(Sandbox, HasNoNetworkWhereItIsIsolated) {
  const SandboxResult result = python(
      "import socket\n"
      "s = socket.socket()\n"
      "s.settimeout(2)\n"
      "try:\n"
      "    s.connect(('127.0.0.1', 9))\n"
      "except OSError as error:\n"
      "    print(error.errno)\n");
  if (!result.isolated) GTEST_SKIP() << "no network namespaces here";
  EXPECT_EQ(result.output, "101\n") << "ENETUNREACH: even the loopback device is down";
}

TEST(Sandbox, SaysWhatItCannotRun) {
  EXPECT_FALSE(run_sandboxed({"/nonexistent/program"}, "", {}).ok());
  EXPECT_FALSE(run_sandboxed({}, "", {}).ok());
}

Item code_item(std::vector<CodeTest> tests, std::string function = "") {
  Item item{.judge = Judge::code};
  item.tests = std::make_shared<const std::vector<CodeTest>>(std::move(tests));
  item.function = std::move(function);
  return item;
}

TEST(JudgeOfCode, RunsProgramsAndFunctions) {
  const Item program = code_item({{"2\n", "4", false}, {"5\n", "10\n", false}});
  std::string why;
  EXPECT_TRUE(is_right(program, "", "print(int(input()) * 2)")) << why;
  EXPECT_FALSE(is_right(program, "", "print(int(input()) + 2)", {}, &why));
  EXPECT_EQ(why, "test 2 of 2: wrong output");
  EXPECT_FALSE(is_right(program, "", "print(1 / 0)", {}, &why));
  EXPECT_EQ(why, "test 1 of 2: ZeroDivisionError: division by zero");
  EXPECT_FALSE(is_right(program, "", std::nullopt, {}, &why));

  const Item function = code_item({{"[3, 1, 2]\n1", "[3, 2]", true}, {"[]\n0", "[]", true}}, "above");
  const std::string right =
      "class Solution:\n    def above(self, xs: List[int], y: int) -> List[int]:\n        print('noise')\n"
      "        return sorted((x for x in xs if x > y), reverse=True)";
  EXPECT_TRUE(is_right(function, "", right, {}, &why)) << why;
  EXPECT_TRUE(
      is_right(function, "", "def above(xs, y): return tuple(sorted([x for x in xs if x > y])[::-1])", {}, &why))
      << why;
  EXPECT_FALSE(is_right(function, "", "def above(xs, y): return xs", {}, &why));
  EXPECT_FALSE(is_right(function, "", "def below(xs, y): return xs", {}, &why));
  EXPECT_THAT(why, HasSubstr("KeyError"));
}

TEST(JudgeOfCode, ComparesOutputsAsJudgeSitesDo) {
  EXPECT_TRUE(same_output("1 2\n3\n", "1 2 \n3"));
  EXPECT_TRUE(same_output("0.50000000001\n", "0.5"));
  EXPECT_TRUE(same_output("a\n\n", "a"));
  EXPECT_FALSE(same_output("1 2 3", "1 2"));
  EXPECT_FALSE(same_output("10000000000000000001", "10000000000000000000")) << "integers are exact";
  EXPECT_FALSE(same_output("Yes", "YES"));
  EXPECT_FALSE(same_output("", "0"));
}

}  // namespace
}  // namespace zaya::eval
