// CRC-32C by folding, by the instruction and by the tables: the published vectors, and the polynomial bit by bit where lanes begin and end.
#include "../../../native/crc32c.h"

#include <numeric>
#include <vector>

#include "../check.h"

using namespace lora_store;
using lora_store_test::Room;

namespace {

using Bytes = std::vector<uint8_t>;
using Crc = uint32_t (*)(uint32_t, const uint8_t*, size_t);

// Every way that this machine has, and the one that is chosen.
std::vector<Crc> All() {
  std::vector<Crc> all{Crc32c};
  for (const char* name : {"folding", "instruction", "tables"}) {
    if (const Crc crc = Crc32cNamed(name)) all.push_back(crc);
  }
  return all;
}

uint32_t BitByBit(uint32_t seed, const uint8_t* bytes, size_t length) {
  uint32_t crc = ~seed;
  for (size_t i = 0; i < length; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
  }
  return ~crc;
}

Bytes Mixed(size_t length) {
  Bytes bytes(length);
  for (size_t i = 0; i < length; i++) bytes[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
  return bytes;
}

// RFC 3720, B.4, and the check value of the catalogues.
void GivesThePublishedValues() {
  Bytes up(32);
  std::iota(up.begin(), up.end(), 0);
  const Bytes down(up.rbegin(), up.rend());
  Bytes read(48);
  for (const auto& [at, value] : std::vector<std::pair<size_t, int>>{{0, 1}, {1, 0xc0}, {16, 0x14}, {22, 4}, {27, 0x14}, {31, 0x18}, {32, 0x28}, {40, 2}}) {
    read[at] = static_cast<uint8_t>(value);
  }
  const char* const digits = "123456789";
  for (const Crc crc : All()) {
    CHECK(crc(0, nullptr, 0) == 0);
    CHECK(crc(0, Bytes(32).data(), 32) == 0x8a9136aau);
    CHECK(crc(0, Bytes(32, 0xff).data(), 32) == 0x62a8ab43u);
    CHECK(crc(0, up.data(), 32) == 0x46dd794eu);
    CHECK(crc(0, down.data(), 32) == 0x113fdb5cu);
    CHECK(crc(0, read.data(), 48) == 0xd9963a56u);
    CHECK(crc(0, reinterpret_cast<const uint8_t*>(digits), 9) == 0xe3069283u);
  }
}

void IsThePolynomialAtEveryEdge() {
  // Three lanes of 512 bytes are taken at once, or four blocks of 64, then eight bytes, then one.
  for (const size_t edge : {size_t{0}, size_t{64}, size_t{256}, size_t{320}, size_t{512}, size_t{1024}, size_t{1536}, size_t{3072}, size_t{4608}}) {
    for (size_t length = edge < 18 ? 0 : edge - 18; length <= edge + 18; length++) {
      const Bytes bytes = Mixed(length);
      const uint32_t seed = static_cast<uint32_t>(length) * 0x9e3779b9u;
      const uint32_t expected = BitByBit(seed, bytes.data(), length);
      for (size_t shift = 0; shift < 17; shift++) {
        Room room(bytes.data(), length, shift);
        for (const Crc crc : All()) CHECK(crc(seed, room.bytes(), length) == expected);
      }
    }
  }
}

void ContinuesWhereAnotherEnded() {
  const Bytes bytes = Mixed(3200);
  const uint32_t expected = BitByBit(0, bytes.data(), bytes.size());
  for (size_t split = 0; split <= bytes.size(); split++) {
    for (const Crc crc : All()) {
      const uint32_t first = crc(0, bytes.data(), split);
      CHECK(crc(first, bytes.data() + split, bytes.size() - split) == expected);
    }
  }
}

}  // namespace

int main() {
  GivesThePublishedValues();
  IsThePolynomialAtEveryEdge();
  ContinuesWhereAnotherEnded();
}
