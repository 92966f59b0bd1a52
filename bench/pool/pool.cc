// What the allocation case measures against fresh memory: a pool of blocks outside V8's heaps, lent to JavaScript as
// external ArrayBuffers, taken back by their finalizers. As lean as such a pool can be: one size, one thread, no bound.
#include <node_api.h>

#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

constexpr size_t kBlocksAtOnce = 64;

struct Pool {
  size_t block_bytes = 0;
  size_t made = 0;
  std::vector<void*> free;
};
Pool pool;

void* Take() {
  if (pool.free.empty()) {
    auto* blocks = static_cast<char*>(std::malloc(kBlocksAtOnce * pool.block_bytes));
    if (blocks == nullptr) std::abort();
    for (size_t i = 0; i < kBlocksAtOnce; i++) pool.free.push_back(blocks + i * pool.block_bytes);
    pool.made += kBlocksAtOnce;
  }
  void* block = pool.free.back();
  pool.free.pop_back();
  return block;
}

void GiveBack(napi_env, void* block, void*) { pool.free.push_back(block); }

// copy(bytes: Buffer): ArrayBuffer. All of one length.
napi_value Copy(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value source = nullptr;
  void* bytes = nullptr;
  size_t length = 0;
  napi_value copy = nullptr;
  if (napi_get_cb_info(env, info, &count, &source, nullptr, nullptr) != napi_ok ||
      napi_get_buffer_info(env, source, &bytes, &length) != napi_ok) {
    return nullptr;
  }
  if (pool.block_bytes == 0) pool.block_bytes = (length + 63) / 64 * 64;
  if (length > pool.block_bytes) return nullptr;
  void* block = Take();
  std::memcpy(block, bytes, length);
  if (napi_create_external_arraybuffer(env, block, length, GiveBack, nullptr, &copy) != napi_ok) return nullptr;
  return copy;
}

// blocks(): number. How many there are, free or lent.
napi_value Blocks(napi_env env, napi_callback_info) {
  napi_value count = nullptr;
  return napi_create_double(env, static_cast<double>(pool.made), &count) == napi_ok ? count : nullptr;
}

}  // namespace

NAPI_MODULE_INIT() {
  const napi_property_descriptor functions[] = {
      {"copy", nullptr, Copy, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"blocks", nullptr, Blocks, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
  };
  return napi_define_properties(env, exports, 2, functions) == napi_ok ? exports : nullptr;
}
