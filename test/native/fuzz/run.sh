#!/usr/bin/env bash
# Builds the fuzz targets with AddressSanitizer and UndefinedBehaviorSanitizer and lets each run for a while, from the golden
# records. Needs clang with its compiler-rt (on Debian: clang and libclang-rt-dev) and CMake's flags for the SIMD files, which
# stand below once more. Not part of .ci/run: see docs/native.md.
#
#   test/native/fuzz/run.sh [SECONDS] [TARGET...]     60 seconds, all of decode, half, entry, kernels
#
# Ends with an error, and the input in .cache/fuzz, at the first promise that does not hold.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
seconds=${1:-60}
[ $# -gt 0 ] && shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(decode half entry kernels)
command -v clang++ >/dev/null || { echo 'clang++ is missing: apt-get install clang libclang-rt-14-dev' >&2; exit 1; }

work=.cache/fuzz
mkdir -p "$work"
flags=(-std=c++17 -g -O2 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -ffp-contract=fast)
avx2=(-mavx2 -mfma -mf16c)
objects=()
for source in codec copy cpu crc32c crc32c-folding entry kernels kernels-neon kernels-avx2 kernels-avx512; do
  simd=()
  if [ "$(uname -m)" = x86_64 ]; then
    [ "$source" = kernels-avx2 ] && simd=("${avx2[@]}")
    [ "$source" = crc32c-folding ] && simd=(-msse4.2 -mpclmul -mavx512f -mavx512dq -mvpclmulqdq)
    [ "$source" = kernels-avx512 ] && simd=("${avx2[@]}" -mavx512f -mavx512vl -mavx512bw -mavx512dq)
  fi
  clang++ "${flags[@]}" ${simd[@]+"${simd[@]}"} -fsanitize=fuzzer-no-link -c "native/$source.cc" -o "$work/$source.o"
  objects+=("$work/$source.o")
done

clang++ "${flags[@]}" test/native/fuzz/seeds.cc "${objects[@]}" -o "$work/seeds"
rm -rf "$work/from" && mkdir "$work/from"
"$work/seeds" test/fixtures/bincode/{tiny-1x1-1,odd-3x7-5,small-4x16-32}.bin "$work/from"

for target in "${targets[@]}"; do
  clang++ "${flags[@]}" -fsanitize=fuzzer "test/native/fuzz/$target.cc" "${objects[@]}" -o "$work/$target"
  mkdir -p "$work/corpus-$target"
  echo "── $target, $seconds s"
  "$work/$target" -max_total_time="$seconds" -max_len=8192 -print_final_stats=1 -artifact_prefix="$work/$target-" \
    "$work/corpus-$target" "$work/from" 2>&1 | grep -E 'ERROR|does not hold|SUMMARY|stat::(number_of_executed_units|average)' ||
    { echo "$target failed: see $work" >&2; exit 1; }
done
