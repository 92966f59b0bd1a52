// The arithmetic on every path, at dimensions around those where whole lanes, chains of them and rows of B end: see
// kernels-check.h.
#include "../kernels-check.h"

#include <random>

using namespace lora_store_test;

namespace {

std::mt19937 random_bits(20260611);

Room Floats(size_t count, size_t shift) {
  Room room(4 * count, shift);
  for (size_t i = 0; i < count; i++) room.floats()[i] = static_cast<float>(static_cast<int32_t>(random_bits())) * 0x1p-30f;
  return room;
}

void Try(size_t rank, size_t input_dim, size_t output_dim, size_t count) {
  const auto shift = [] { return 4 * (random_bits() % 16); };
  Problem problem{rank,
                  input_dim,
                  output_dim,
                  count,
                  0.75f,
                  Floats(rank * input_dim, shift()),
                  Floats(output_dim * rank, shift()),
                  Floats(std::max(count, size_t{1}) * input_dim, shift()),
                  Floats(output_dim, shift()),
                  true};
  KeepsPromises(problem, shift());
}

}  // namespace

int main() {
  for (const size_t rank : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 67}) {
    for (const size_t input_dim : {1, 3, 7, 15, 16, 17, 31, 33, 63, 64, 65, 129}) {
      for (const size_t output_dim : {1, 3, 7, 15, 16, 17, 33, 65}) Try(rank, input_dim, output_dim, output_dim % 4);
    }
  }
  // So long that sums in f32 are added up in f64, and not a multiple of anything.
  Try(3, 40'009, 5, 2);
  Try(5, 3, 40'009, 2);
  Try(1031, 5, 7, 3);
  Try(8, 512, 768, 5);
}
