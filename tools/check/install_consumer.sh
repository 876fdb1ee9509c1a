#!/usr/bin/env bash
# Installs a build tree, moves the installation elsewhere, and has both its program and examples/embed, built against
# it, answer a question: tools/check/install_consumer.sh BUILD_TREE C++_COMPILER
set -euo pipefail

source_dir=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
tree=$1 compiler=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cmake --install "$tree" --prefix "$scratch/first" >/dev/null
# Nothing may depend on where it was installed, or on the build tree.
mv "$scratch/first" "$scratch/prefix"
if grep -rlF -e "$tree" -e "$source_dir" -e "$scratch/first" "$scratch/prefix/lib"*/cmake; then
  echo "the package names a directory of this machine" >&2
  exit 1
fi

cmake -G Ninja -S "$source_dir/examples/embed" -B "$scratch/build" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$scratch/prefix" >"$scratch/log" ||
  { cat "$scratch/log" && exit 1; }
cmake --build "$scratch/build"

# expect TEXT COMMAND…: the command's output must hold the text.
expect() {
  local text=$1 output
  shift
  output=$("$@")
  if [[ "$output" != *"$text"* ]]; then
    printf '%s\nanswered:\n%s\nwithout: %s\n' "$*" "$output" "$text" >&2
    exit 1
  fi
}
question='What is 47 * 86?'
expect 4042 "$scratch/build/ask" "$scratch/prefix/share/zaya/models/nano" "$question"
# The program finds the model of its own installation.
expect 4042 env -u ZAYA_MODEL "$scratch/prefix/bin/zaya" run -p "$question" --greedy

# A failure is a sentence and exit code 1.
if "$scratch/build/ask" "$scratch/absent" "$question" 2>"$scratch/error"; then
  echo "a missing model was no failure" >&2
  exit 1
fi
grep -qF "$scratch/absent" "$scratch/error"
echo "the installed program and a program that embeds the library both answer $question"
