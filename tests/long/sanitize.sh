#!/usr/bin/env bash
# Runs the fuzzer of the operators on an extension that is compiled with AddressSanitizer and UBSan. The arguments are
# the fuzzer's, such as --minutes 10 --seed 3. The first build takes several minutes; later ones are incremental.
# SANITIZE_DIR is the folder for the build (default: build/sanitize).
set -euo pipefail
cd "$(dirname "$0")/../.."

folder=$(realpath -m "${SANITIZE_DIR:-build/sanitize}")
# Addresses beyond arrays are only prefetched. What is read and written is AddressSanitizer's to check.
flags="-O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined,float-cast-overflow -fno-sanitize=pointer-overflow -fno-sanitize-recover=all"
mkdir -p "$folder/site"
pip wheel -q --no-build-isolation --no-deps -w "$folder" -Cbuild-dir="$folder/objects" -Ccmake.build-type=None \
  -Ccmake.define.SPECTROMER_CUDA=OFF -Ccmake.define.CMAKE_CXX_FLAGS="$flags" -Cinstall.strip=false .
wheel=$(ls -t "$folder"/*.whl | head -n 1)
python -m zipfile -e "$wheel" "$folder/site"

runtime=$(${CXX:-c++} -print-file-name=libasan.so)
export LD_PRELOAD="$runtime:$(${CXX:-c++} -print-file-name=libstdc++.so)"
export ASAN_OPTIONS="detect_leaks=0:abort_on_error=1:allocator_may_return_null=1"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1"
export PYTHONPATH="$folder/site"
# Python must not find the checkout's package, which lies in the current folder.
cd "$folder"
exec python "$OLDPWD/tests/long/fuzz_operators.py" "$@"
