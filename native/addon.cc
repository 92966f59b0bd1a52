// The addon: what JavaScript sees of codec, checksum, kernels and training. The addon*.cc files alone know Node. They take arguments
// apart, refuse those that are wrong, and call functions that know only bytes; they keep no state, so every worker thread
// and every environment of a process may load them. Their one caller is src/adapter/native.ts.
#include "addon-arguments.h"

namespace {

// Raised with every change of a signature or a meaning, so that an addon built from other sources is recognised.
constexpr int kInterface = 7;

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("interface", Napi::Number::New(env, kInterface));
  lora_store_addon::AddCodec(env, exports);
  lora_store_addon::AddDescent(env, exports);
  lora_store_addon::AddKernels(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(lora_store, Init)
