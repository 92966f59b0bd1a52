// How the addon takes its arguments: what is no array of the right type in memory of its own is refused with a TypeError, and
// lengths that do not fit with a RangeError, before any of it is read. Nothing here runs JavaScript, so that nothing changes
// between the check and the use. For the addon-*.cc files, which alone know Node.
#ifndef LORA_STORE_ADDON_ARGUMENTS_H_
#define LORA_STORE_ADDON_ARGUMENTS_H_

// In a worker that is being stopped nothing can be allocated or thrown any more. Without this, the attempt to throw
// aborts the whole process; with it, the call returns into a script that is about to end.
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <limits>

namespace lora_store_addon {

struct View {
  // Nothing here takes these: a Node that does not know a type leaves what it finds, as early 24s did with Float16Array.
  napi_typedarray_type type = napi_biguint64_array;
  void* data = nullptr;
  size_t length = 0;  // In elements.

  uint8_t* bytes() const { return static_cast<uint8_t*>(data); }
  double* doubles() const { return static_cast<double*>(data); }
  float* floats() const { return static_cast<float*>(data); }
};

// Always false, to be returned.
inline bool Refuse(Napi::Env env, const char* message) {
  Napi::TypeError::New(env, message).ThrowAsJavaScriptException();
  return false;
}

// Memory that another thread may write is refused: what was checked could change before it is copied.
inline bool TakeView(const Napi::CallbackInfo& info, size_t index, napi_typedarray_type type, View* view) {
  const Napi::Env env = info.Env();
  const Napi::Value value = info[index];
  napi_value buffer = nullptr;
  bool is_private = false;
  bool is_detached = false;
  if (!value.IsTypedArray()) return Refuse(env, "expected a typed array");
  if (napi_get_typedarray_info(env, value, &view->type, &view->length, &view->data, &buffer, nullptr) != napi_ok) {
    return Refuse(env, "unreadable typed array");
  }
  if (view->type != type) return Refuse(env, "expected a typed array of another element type");
  if (napi_is_arraybuffer(env, buffer, &is_private) != napi_ok || !is_private) {
    return Refuse(env, "shared memory is not accepted");
  }
  if (napi_is_detached_arraybuffer(env, buffer, &is_detached) != napi_ok || is_detached) {
    return Refuse(env, "the memory of this typed array was transferred away");
  }
  return true;
}

// Whether some memory belongs to both. By numbers: pointers into different memory have no order of their own.
inline bool Overlap(const View& a, size_t a_bytes, const View& b, size_t b_bytes) {
  const auto a_at = reinterpret_cast<uintptr_t>(a.data);
  const auto b_at = reinterpret_cast<uintptr_t>(b.data);
  return a_at < b_at + b_bytes && b_at < a_at + a_bytes;
}

// Always false, with a RangeError.
inline bool Misfit(Napi::Env env, const char* message = "the arrays do not have lengths that fit together") {
  Napi::RangeError::New(env, message).ThrowAsJavaScriptException();
  return false;
}

// Too large for a float: infinity, which the plain conversion leaves undefined.
inline float ToFloat(double value) {
  constexpr double kMost = std::numeric_limits<float>::max();
  if (value > kMost) return std::numeric_limits<float>::infinity();
  if (value < -kMost) return -std::numeric_limits<float>::infinity();
  return static_cast<float>(value);
}

// What is exported, by the file that has it.
void AddCodec(Napi::Env env, Napi::Object exports);
void AddDescent(Napi::Env env, Napi::Object exports);
void AddKernels(Napi::Env env, Napi::Object exports);

}  // namespace lora_store_addon

#endif  // LORA_STORE_ADDON_ARGUMENTS_H_
