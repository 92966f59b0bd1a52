// Halves on every path: each of them to f32 and back, the rounding between any two, and what is refused in every lane.
#include <cmath>

#include "../check.h"
#include "../paths.h"

using namespace lora_store;
using namespace lora_store_test;

namespace {

bool IsFinite(uint16_t half) { return (half & 0x7c00) != 0x7c00; }

// By the definition of binary16.
double ValueOf(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int fraction = half & 1023;
  const double size = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return (half & 0x8000) != 0 ? -size : size;
}

uint16_t Rounded(const Kernels& kernels, float value, bool* good) {
  Room from(reinterpret_cast<const uint8_t*>(&value), 4, 0);
  Room to(2, 0);
  *good = kernels.to_half(from.bytes(), 1, to.bytes());
  uint16_t half;
  std::memcpy(&half, to.bytes(), 2);
  return half;
}

void AllOfThemReturn(const Kernels& kernels) {
  std::vector<uint16_t> halves;
  for (uint32_t bits = 0; bits < 0x10000; bits++) {
    if (IsFinite(static_cast<uint16_t>(bits))) halves.push_back(static_cast<uint16_t>(bits));
  }
  const size_t count = halves.size();
  CHECK(count == 2 * 31 * 1024);
  Room from(reinterpret_cast<const uint8_t*>(halves.data()), 2 * count, 2);
  Room floats(4 * count, 4);
  Room back(2 * count, 1);
  CHECK(kernels.from_half(from.bytes(), count, floats.bytes()));
  for (size_t i = 0; i < count; i++) {
    CHECK(floats.floats()[i] == ValueOf(halves[i]));
    CHECK(std::signbit(floats.floats()[i]) == ((halves[i] & 0x8000) != 0));
  }
  CHECK(kernels.to_half(floats.bytes(), count, back.bytes()));
  CHECK(back.Is(from.bytes()));
}

// What lies between two halves goes to the nearer one, and from the middle to the even one.
void RoundsToNearestEven(const Kernels& kernels) {
  Room from(4 * 8, 0);
  Room to(2 * 8, 0);
  for (uint16_t lower = 0; lower < 0x7bff; lower++) {
    const auto upper = static_cast<uint16_t>(lower + 1);
    const auto middle = static_cast<float>((ValueOf(lower) + ValueOf(upper)) / 2);
    const uint16_t even = (lower & 1) == 0 ? lower : upper;
    const float below = std::nextafterf(middle, 0);
    const float above = std::nextafterf(middle, HUGE_VALF);
    const float values[8] = {below, middle, above, -below, -middle, -above, middle, below};
    const uint16_t expected[8] = {lower, even, upper, static_cast<uint16_t>(lower | 0x8000), static_cast<uint16_t>(even | 0x8000),
                                  static_cast<uint16_t>(upper | 0x8000), even, lower};
    std::memcpy(from.bytes(), values, sizeof values);
    CHECK(kernels.to_half(from.bytes(), 8, to.bytes()));
    CHECK(to.Is(reinterpret_cast<const uint8_t*>(expected)));
    bool good = false;
    CHECK(Rounded(kernels, middle, &good) == even && good);
  }
}

void RefusesInEveryLane(const Kernels& kernels) {
  for (size_t count = 1; count <= 67; count++) {
    for (size_t shift = 0; shift < 8; shift++) {
      const std::vector<float> ones(count, 65504.0f);
      const std::vector<uint16_t> halves(count, 0xfbff);
      Room floats(reinterpret_cast<const uint8_t*>(ones.data()), 4 * count, shift);
      Room small(reinterpret_cast<const uint8_t*>(halves.data()), 2 * count, shift);
      Room to_small(2 * count, shift + 3);
      Room to_floats(4 * count, shift + 5);
      CHECK(kernels.to_half(floats.bytes(), count, to_small.bytes()));
      CHECK(kernels.from_half(small.bytes(), count, to_floats.bytes()));
      for (size_t lane = 0; lane < count; lane++) {
        for (const float bad : {65520.0f, -65520.0f, 1e30f, HUGE_VALF, -HUGE_VALF, std::nanf(""), -std::nanf("7")}) {
          std::memcpy(floats.bytes() + 4 * lane, &bad, 4);
          CHECK(!kernels.to_half(floats.bytes(), count, to_small.bytes()));
        }
        std::memcpy(floats.bytes() + 4 * lane, ones.data(), 4);
        for (const uint16_t bad : {0x7c00, 0xfc00, 0x7c01, 0x7e00, 0xffff}) {
          std::memcpy(small.bytes() + 2 * lane, &bad, 2);
          CHECK(!kernels.from_half(small.bytes(), count, to_floats.bytes()));
        }
        std::memcpy(small.bytes() + 2 * lane, halves.data(), 2);
      }
    }
  }
}

}  // namespace

int main() {
  for (const Kernels* kernels : AllPaths()) {
    AllOfThemReturn(*kernels);
    RoundsToNearestEven(*kernels);
    RefusesInEveryLane(*kernels);
  }
}
