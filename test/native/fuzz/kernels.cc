// The arithmetic on weights of any dimensions and any numbers, NaN and infinities too: see kernels-check.h.
//
// The input: which numbers to use, the dimensions, a shift for each array; the rest are the numbers, over and over.
#include "../../../native/crc32c.h"
#include "../kernels-check.h"

using namespace lora_store_test;

namespace {

struct Source {
  const uint8_t* data;
  size_t length;
  size_t at = 0;

  uint8_t Byte() {
    if (length == 0) return 0;
    if (at == length) at = 0;
    return data[at++];
  }
  size_t UpTo(size_t most) { return 1 + (Byte() | static_cast<size_t>(Byte()) << 8) % most; }

  // At any place where a float may lie. tame: from -2 to 2, else any bits.
  Room Floats(size_t count, bool tame) {
    Room room(4 * count, 4 * size_t{Byte()});
    for (size_t i = 0; i < count; i++) {
      uint32_t bits = Byte();
      for (int k = 1; k < 4; k++) bits = bits << 8 | Byte();
      if (tame) room.floats()[i] = static_cast<float>(static_cast<int32_t>(bits)) * 0x1p-30f;
      else std::memcpy(room.bytes() + 4 * i, &bits, 4);
    }
    return room;
  }
};

struct Longest {
  size_t rank, input_dim, output_dim, count;
};

// Mostly as long as the shortest steps of the widest lanes take, for the sake of speed; at times as long as the longest. A
// hash of the input says when: were it a byte of it, the long ones, which cover more, would soon have bred out the others.
Longest ChooseLongest(const uint8_t* data, size_t length) {
  const uint32_t hash = lora_store::Crc32c(0, data, length);
  if (hash % 256 == 0) return {200, 600, 300, 5};
  if (hash % 16 == 0) return {33, 140, 70, 4};
  return {9, 35, 21, 3};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t length) {
  Source source{data, length};
  const Longest longest = ChooseLongest(data, length);
  const bool tame = source.Byte() % 4 != 0;
  const size_t rank = source.UpTo(longest.rank);
  const size_t input_dim = source.UpTo(longest.input_dim);
  const size_t output_dim = source.UpTo(longest.output_dim);
  const size_t count = source.UpTo(longest.count) - 1;
  const float scaling = tame ? 2.0f : source.Floats(1, false).floats()[0];
  const size_t shift = 4 * size_t{source.Byte()};
  Problem problem{rank,
                  input_dim,
                  output_dim,
                  count,
                  scaling,
                  source.Floats(rank * input_dim, tame),
                  source.Floats(output_dim * rank, tame),
                  source.Floats(std::max(count, size_t{1}) * input_dim, tame),
                  source.Floats(output_dim, tame),
                  tame};
  KeepsPromises(problem, shift);
  return 0;
}
