#include "copy.h"

#include <algorithm>

#include "cpu.h"
#include "crc32c-paths.h"
#include "kernels.h"

namespace lora_store {
namespace {

// Of f32: what is looked at, summed and copied piece by piece is fetched once.
constexpr size_t kPiece = 3072;

constexpr size_t kCacheLine = 64;

// How many f32 lie before the next line of the cache: a wide store across two lines is two stores, which made 41 KB into
// memory that is in no cache take 1.9 µs, and 1.5 with this (Sapphire Rapids).
size_t BeforeLine(const uint8_t* target, size_t count) {
  const size_t bytes = (kCacheLine - reinterpret_cast<uintptr_t>(target) % kCacheLine) % kCacheLine;
  return bytes % 4 == 0 ? std::min(bytes / 4, count) : 0;
}

using Move = bool (*)(const uint8_t* source, size_t count, uint8_t* target);

bool InPieces(Move move, size_t from_bytes, const uint8_t* source, size_t count, uint8_t* target,
              RunningChecksum* checksum) {
  bool finite = true;
  size_t piece = BeforeLine(target, count);
  for (size_t i = 0; i < count; i += piece, piece = std::min(kPiece, count - i)) {
    const uint8_t* const from = source + from_bytes * i;
    if (checksum->wanted) checksum->value = Crc32c(checksum->value, from, from_bytes * piece);
    finite = move(from, piece, target + 4 * i) && finite;
  }
  return finite;
}

}  // namespace

bool CopyWeights(const uint8_t* source, size_t count, uint8_t* target, RunningChecksum* checksum) {
  // Also where no checksum is wanted: the multiplications hide behind the waiting for memory.
  if (kCopyFolding != nullptr && TheCpu().vpclmulqdq) {
    const size_t head = BeforeLine(target, count);
    const bool finite = kCopyFolding(source, head, target, &checksum->value);
    return kCopyFolding(source + 4 * head, count - head, target + 4 * head, &checksum->value) && finite;
  }
  return CopyWeightsInPieces(source, count, target, checksum);
}

bool CopyWeightsInPieces(const uint8_t* source, size_t count, uint8_t* target, RunningChecksum* checksum) {
  return InPieces(BestKernels().copy_finite, 4, source, count, target, checksum);
}

bool ExpandWeights(const uint8_t* source, size_t count, uint8_t* target, RunningChecksum* checksum) {
  return InPieces(BestKernels().from_half, 2, source, count, target, checksum);
}

}  // namespace lora_store
