// What the native tests have in place of a framework: a promise that does not hold ends the process, and says where.
#ifndef LORA_STORE_TEST_CHECK_H_
#define LORA_STORE_TEST_CHECK_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#define CHECK(condition) \
  ((condition) ? (void)0 : lora_store_test::Broken(#condition, __FILE__, __LINE__))

namespace lora_store_test {

[[noreturn]] inline void Broken(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
  std::abort();
}

// Memory of exactly so many bytes, at an alignment of one's choice: the sanitizer sees the byte after it, and the canary
// that ends it sees a byte before it. Never nullptr, even when empty.
class Room {
 public:
  Room(size_t size, size_t shift) : shift_(kBefore + shift % kBefore), size_(size), all_(new uint8_t[shift_ + size]) {
    std::memset(all_.get(), kCanary, shift_ + size_);
  }
  Room(const uint8_t* bytes, size_t size, size_t shift) : Room(size, shift) {
    if (size > 0) std::memcpy(this->bytes(), bytes, size);
  }
  Room(Room&&) = default;
  ~Room() {
    for (size_t i = 0; all_ != nullptr && i < shift_; i++) CHECK(all_[i] == kCanary);
  }

  uint8_t* bytes() { return all_.get() + shift_; }
  float* floats() { return reinterpret_cast<float*>(bytes()); }
  size_t size() const { return size_; }
  bool Is(const uint8_t* other) { return size_ == 0 || std::memcmp(bytes(), other, size_) == 0; }

 private:
  static constexpr size_t kBefore = 64;
  static constexpr uint8_t kCanary = 0xa5;
  size_t shift_;
  size_t size_;
  std::unique_ptr<uint8_t[]> all_;
};

}  // namespace lora_store_test

#endif  // LORA_STORE_TEST_CHECK_H_
