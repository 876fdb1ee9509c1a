#include "eval/sandbox.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "base/file.h"

namespace zaya::eval {
namespace {

constexpr uid_t kNobody = 65534;
constexpr size_t kErrors = 16 << 10;
constexpr int kCannotStart = 125;  // the child's exit code when it could not become the program
constexpr char kIsolated = 'i';

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

Status failed(const char* what) { return Status(Code::io_error, fmt::format("{}: {}", what, std::strerror(errno))); }

// A file descriptor that is closed with its owner.
struct Descriptor {
  int number = -1;
  Descriptor() = default;
  explicit Descriptor(int given) : number(given) {}
  Descriptor(Descriptor&& other) noexcept : number(std::exchange(other.number, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number, other.number);
    return *this;
  }
  ~Descriptor() { close(); }
  void close() {
    if (number >= 0) ::close(std::exchange(number, -1));
  }
};

struct Pipe {
  Descriptor read, write;
  Status open() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return failed("cannot make a pipe");
    read = Descriptor(ends[0]);
    write = Descriptor(ends[1]);
    return Status();
  }
};

struct TemporaryDirectory {
  std::filesystem::path path;
  Status make() {
    std::error_code error;
    std::string name = (std::filesystem::temp_directory_path(error) / "zaya-run-XXXXXX").string();
    if (error || ::mkdtemp(name.data()) == nullptr) return failed("cannot make a temporary directory");
    path = name;
    return Status();
  }
  ~TemporaryDirectory() {
    std::error_code error;
    if (!path.empty()) std::filesystem::remove_all(path, error);
  }
};

// What the child needs, made before the fork: between fork and exec it may only make system calls.
struct Plan {
  std::vector<char*> arguments;
  std::array<char*, 4> environment;
  const char* directory;
  int input, output, errors, note;
  int others[4];  // the ends of the parent
  bool drop_user;
  struct {
    int what;
    rlimit limit;
  } limits[6];
};

// Ends a child, which is a process of its own, without what the parent registered for its end.
[[noreturn]] void leave(int code) {
  ::syscall(SYS_exit_group, code);
  __builtin_unreachable();
}

// In the process that becomes the program.
[[noreturn]] void become(const Plan& plan) {
  // Dies with its parent, so that killing the parent is enough.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::dup2(plan.input, 0);
  ::dup2(plan.output, 1);
  ::dup2(plan.errors, 2);
  if (::chdir(plan.directory) != 0) leave(kCannotStart);
  for (const auto& entry : plan.limits) {
    if (::setrlimit(static_cast<__rlimit_resource>(entry.what), &entry.limit) != 0) leave(kCannotStart);
  }
  ::execve(plan.arguments[0], plan.arguments.data(), plan.environment.data());
  leave(kCannotStart);
}

// The child: leaves what it can of the outside, starts the program, waits for it, ends as it ended.
[[noreturn]] void child(const Plan& plan) {
  ::setpgid(0, 0);
  // An end left open here would hide its closing from the program.
  for (int end : plan.others) ::close(end);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::signal(SIGINT, SIG_IGN);  // an interrupt of the terminal is the parent's business
  if (plan.drop_user && (::setresgid(kNobody, kNobody, kNobody) != 0 || ::setresuid(kNobody, kNobody, kNobody) != 0)) {
    leave(kCannotStart);
  }
  // In a process namespace of its own the program is the first process, and nothing it starts outlives it.
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC) == 0) {
    const ssize_t told = ::write(plan.note, &kIsolated, 1);
    (void)told;
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // after the changes of user, which undo it
  const pid_t program = ::_Fork();
  if (program == 0) become(plan);
  if (program < 0) leave(kCannotStart);
  // The pipes are the program's: their end must be its end.
  for (int end : {plan.input, plan.output, plan.errors, plan.note}) ::close(end);
  int status = 0;
  while (::waitpid(program, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::signal(WTERMSIG(status), SIG_DFL);
    ::kill(::getpid(), WTERMSIG(status));
    leave(128 + WTERMSIG(status));
  }
  leave(WEXITSTATUS(status));
}

}  // namespace

Result<SandboxResult> run_sandboxed(const std::vector<std::string>& command, const std::string& input,
                                    const std::map<std::string, std::string>& files, const SandboxLimits& limits) {
  if (command.empty()) return Status(Code::invalid_argument, "there is no command");
  TemporaryDirectory directory;
  ZAYA_RETURN_IF_ERROR(directory.make());
  for (const auto& [name, content] : files) {
    ZAYA_RETURN_IF_ERROR(write_file(directory.path / std::filesystem::path(name).filename(), content));
  }
  const bool root = ::geteuid() == 0;
  if (root) {
    // Read-only for nobody, but for the directory itself, where the program may write.
    if (::chown(directory.path.c_str(), kNobody, kNobody) != 0) return failed("cannot give a directory away");
    for (const auto& entry : files) {
      ::chmod((directory.path / std::filesystem::path(entry.first).filename()).c_str(), 0644);
    }
  }

  Pipe in, out, err, note;
  for (Pipe* pipe : {&in, &out, &err, &note}) ZAYA_RETURN_IF_ERROR(pipe->open());
  Plan plan{};
  std::vector<std::string> words = command;
  for (std::string& word : words) plan.arguments.push_back(word.data());
  plan.arguments.push_back(nullptr);
  char path[] = "PATH=/usr/local/bin:/usr/bin:/bin", locale[] = "LC_ALL=C.UTF-8";
  std::string home = "HOME=" + directory.path.string();
  plan.environment = {path, locale, home.data(), nullptr};
  plan.directory = directory.path.c_str();
  plan.input = in.read.number;
  plan.output = out.write.number;
  plan.errors = err.write.number;
  plan.note = note.write.number;
  plan.drop_user = root;
  int* other = plan.others;
  for (int end : {in.write.number, out.read.number, err.read.number, note.read.number}) *other++ = end;
  const auto both = [](int64_t value) { return rlimit{static_cast<rlim_t>(value), static_cast<rlim_t>(value)}; };
  plan.limits[0] = {RLIMIT_CPU, {static_cast<rlim_t>(limits.cpu_seconds), static_cast<rlim_t>(limits.cpu_seconds) + 1}};
  plan.limits[1] = {RLIMIT_AS, both(limits.memory_bytes)};
  plan.limits[2] = {RLIMIT_FSIZE, both(limits.file_bytes)};
  plan.limits[3] = {RLIMIT_NPROC, both(limits.processes)};
  plan.limits[4] = {RLIMIT_NOFILE, both(64)};
  plan.limits[5] = {RLIMIT_CORE, both(0)};

  const double begin = now();
  const pid_t pid = ::fork();
  if (pid < 0) return failed("cannot start a process");
  if (pid == 0) child(plan);
  ::setpgid(pid, pid);  // by whichever of the two comes first
  in.read.close();
  out.write.close();
  err.write.close();
  note.write.close();
  ::fcntl(in.write.number, F_SETFL, O_NONBLOCK);

  SandboxResult result;
  const auto kill_all = [&] {
    ::kill(-pid, SIGKILL);
    ::kill(pid, SIGKILL);
  };
  // A write to a program that reads no more must not be a signal for this process: blocked here, taken from the queue.
  sigset_t pipe_signal, before;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  size_t written = 0;
  std::string block(65536, '\0');
  while (out.read.number >= 0 || err.read.number >= 0) {
    const double left = begin + limits.seconds - now();
    if (left <= 0) {
      result.ended = Ended::timed_out;
      break;
    }
    if (written == input.size()) in.write.close();
    pollfd polled[3] = {{out.read.number, POLLIN, 0}, {err.read.number, POLLIN, 0}, {in.write.number, POLLOUT, 0}};
    if (::poll(polled, 3, static_cast<int>(std::min(left * 1000 + 1, 1000.0))) < 0) {
      if (errno == EINTR) continue;
      break;
    }
    if ((polled[2].revents & (POLLOUT | POLLERR)) != 0) {
      const ssize_t count = ::write(in.write.number, input.data() + written, input.size() - written);
      if (count > 0) written += static_cast<size_t>(count);
      if (count < 0 && errno != EAGAIN && errno != EINTR) in.write.close();
    }
    const auto take = [&](const pollfd& from, Descriptor& descriptor, std::string& into, size_t most) {
      if ((from.revents & (POLLIN | POLLHUP | POLLERR)) == 0) return false;
      const ssize_t count = ::read(descriptor.number, block.data(), block.size());
      if (count <= 0) {
        if (count == 0 || errno != EINTR) descriptor.close();
        return false;
      }
      const size_t room = most - std::min(most, into.size());
      into.append(block.data(), std::min(room, static_cast<size_t>(count)));
      return static_cast<size_t>(count) > room;
    };
    if (take(polled[0], out.read, result.output, static_cast<size_t>(limits.output_bytes))) {
      result.ended = Ended::flooded;
      break;
    }
    take(polled[1], err.read, result.errors, kErrors);
  }
  const timespec no_time{0, 0};
  while (::sigtimedwait(&pipe_signal, nullptr, &no_time) > 0) {
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);

  // Both pipes may be closed while the program goes on.
  int status = 0;
  while (result.ended == Ended::exited) {
    const pid_t waited = ::waitpid(pid, &status, WNOHANG);
    if (waited == pid || (waited < 0 && errno != EINTR)) break;
    if (now() > begin + limits.seconds) {
      result.ended = Ended::timed_out;
    } else {
      ::poll(nullptr, 0, 2);
    }
  }
  if (result.ended != Ended::exited) {
    kill_all();
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
  } else {
    ::kill(-pid, SIGKILL);  // what it left behind
    if (WIFSIGNALED(status)) {
      result.ended = Ended::signalled;
      result.status = WTERMSIG(status);
    } else {
      result.status = WEXITSTATUS(status);
    }
  }
  char told = 0;
  result.isolated = ::read(note.read.number, &told, 1) == 1 && told == kIsolated;
  result.seconds = now() - begin;
  if (result.ended == Ended::exited && result.status == kCannotStart && result.output.empty()) {
    return Status(Code::io_error, fmt::format("cannot run {} in a sandbox", command[0]));
  }
  return result;
}

}  // namespace zaya::eval
