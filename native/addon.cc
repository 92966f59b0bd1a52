// What JavaScript sees of codec, checksum and kernels. The only file that knows Node: it takes arguments apart, refuses those that are
// wrong with a TypeError or RangeError, and calls functions that know only bytes. It keeps no state, so every worker
// thread and every environment of a process may load it. Its one caller is src/adapter/native.ts.

// In a worker that is being stopped nothing can be allocated or thrown any more. Without this, the attempt to throw
// aborts the whole process; with it, the call returns into a script that is about to end.
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#include <napi.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <new>

#include "codec.h"
#include "crc32c.h"
#include "kernels.h"

namespace {

// Raised with every change of a signature or a meaning below, so that an addon built from other sources is recognised.
constexpr int kInterface = 3;

// Indices of the Float64Array in which facts of a record cross over; `interface Addon` in native.ts repeats them.
enum Fact { kRank, kInputDim, kOutputDim, kScalingFactor, kTrainingIterations, kOffset, kFactCount };

struct View {
  napi_typedarray_type type = napi_uint8_array;
  void* data = nullptr;
  size_t length = 0;  // In elements.

  uint8_t* bytes() const { return static_cast<uint8_t*>(data); }
  double* doubles() const { return static_cast<double*>(data); }
  float* floats() const { return static_cast<float*>(data); }
};

// Always false, to be returned.
bool Refuse(Napi::Env env, const char* message) {
  Napi::TypeError::New(env, message).ThrowAsJavaScriptException();
  return false;
}

// Memory that another thread may write is refused: what was checked could change before it is copied.
bool TakeView(const Napi::CallbackInfo& info, size_t index, napi_typedarray_type type, View* view) {
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
bool Overlap(const View& a, size_t a_bytes, const View& b, size_t b_bytes) {
  const auto a_at = reinterpret_cast<uintptr_t>(a.data);
  const auto b_at = reinterpret_cast<uintptr_t>(b.data);
  return a_at < b_at + b_bytes && b_at < a_at + a_bytes;
}

bool TakeFacts(const Napi::CallbackInfo& info, size_t index, View* facts) {
  if (!TakeView(info, index, napi_float64_array, facts)) return false;
  return facts->length >= kFactCount || Refuse(info.Env(), "expected room for all facts");
}

bool ToInteger(double value, uint64_t* integer) {
  // Negated, so that NaN is refused too.
  if (!(value >= 0 && value <= static_cast<double>(lora_store::kMaxSafeInteger)) || value != std::floor(value)) return false;
  *integer = static_cast<uint64_t>(value);
  return true;
}

Napi::Value Answer(Napi::Env env, lora_store::Result result, const View& facts) {
  facts.doubles()[kOffset] = static_cast<double>(result.offset);
  return Napi::Number::New(env, static_cast<int>(result.status));
}

// What an optional pair of arguments, seed and expected, says of a checksum. *given: whether there is one.
bool TakeChecksum(const Napi::CallbackInfo& info, size_t index, lora_store::Checksum* checksum, bool* given) {
  *given = !info[index].IsUndefined();
  if (!*given) return true;
  if (!info[index].IsNumber() || !info[index + 1].IsNumber()) return Refuse(info.Env(), "expected two numbers, a checksum");
  checksum->seed = info[index].As<Napi::Number>().Uint32Value();
  checksum->expected = info[index + 1].As<Napi::Number>().Uint32Value();
  return true;
}

// decode(bytes: Uint8Array, facts: Float64Array, seed?: number, expected?: number): Buffer | number, and so decodeHalf.
// The private copy of a valid record, its facts in the array; or the code, and in the array the offset.
template <lora_store::Precision kPrecision>
Napi::Value Decode(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  View bytes;
  View out;
  lora_store::Checksum checksum{};
  bool summed = false;
  if (!TakeView(info, 0, napi_uint8_array, &bytes) || !TakeFacts(info, 1, &out) ||
      !TakeChecksum(info, 2, &checksum, &summed)) {
    return env.Undefined();
  }

  lora_store::Facts facts{};
  lora_store::Result result = lora_store::Inspect(bytes.bytes(), bytes.length, kPrecision, &facts);
  if (result.status != lora_store::Status::kOk) return Answer(env, result, out);

  size_t size = 0;
  napi_value copy = nullptr;
  void* target = nullptr;
  if (!lora_store::EncodedSize(facts, &size) || napi_create_buffer(env, size, &target, &copy) != napi_ok) {
    Refuse(env, "no memory for the record");
    return env.Undefined();
  }
  const auto move = kPrecision == lora_store::Precision::kHalf ? lora_store::Expand : lora_store::Copy;
  result = move(bytes.bytes(), bytes.length, facts, summed ? &checksum : nullptr, static_cast<uint8_t*>(target));
  if (result.status != lora_store::Status::kOk) return Answer(env, result, out);

  double* values = out.doubles();
  values[kRank] = static_cast<double>(facts.rank);
  values[kInputDim] = static_cast<double>(facts.input_dim);
  values[kOutputDim] = static_cast<double>(facts.output_dim);
  values[kScalingFactor] = static_cast<double>(facts.scaling_factor);
  values[kTrainingIterations] = static_cast<double>(facts.training_iterations);
  return Napi::Value(env, copy);
}

// halve(record: Uint8Array): Buffer | undefined
// The half of a valid record; undefined where a weight is too large for one.
Napi::Value Halve(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  View bytes;
  if (!TakeView(info, 0, napi_uint8_array, &bytes)) return env.Undefined();
  lora_store::Facts facts{};
  if (lora_store::Inspect(bytes.bytes(), bytes.length, lora_store::Precision::kSingle, &facts).status !=
      lora_store::Status::kOk) {
    Napi::RangeError::New(env, "expected the bytes of a valid record").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  napi_value half = nullptr;
  void* target = nullptr;
  if (napi_create_buffer(env, lora_store::HalfSize(facts), &target, &half) != napi_ok) {
    Refuse(env, "no memory for the half of the record");
    return env.Undefined();
  }
  const lora_store::Result result =
      lora_store::Halve(bytes.bytes(), bytes.length, facts, static_cast<uint8_t*>(target));
  return result.status == lora_store::Status::kOk ? Napi::Value(env, half) : env.Undefined();
}

// encode(target: Uint8Array, userId: Uint8Array, facts: Float64Array, base: Float32Array, user: Float32Array): number
// Fills target with a record. The code, and in the array the offset, of a weight that is NaN or infinite; else 0.
Napi::Value Encode(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  View target;
  View user_id;
  View in;
  View base;
  View user;
  if (!TakeView(info, 0, napi_uint8_array, &target) || !TakeView(info, 1, napi_uint8_array, &user_id) ||
      !TakeFacts(info, 2, &in) || !TakeView(info, 3, napi_float32_array, &base) ||
      !TakeView(info, 4, napi_float32_array, &user)) {
    return env.Undefined();
  }

  const double* values = in.doubles();
  lora_store::Facts facts{};
  size_t size = 0;
  facts.scaling_factor = static_cast<float>(values[kScalingFactor]);
  if (!ToInteger(values[kRank], &facts.rank) || !ToInteger(values[kInputDim], &facts.input_dim) ||
      !ToInteger(values[kOutputDim], &facts.output_dim) ||
      !ToInteger(values[kTrainingIterations], &facts.training_iterations) || !std::isfinite(facts.scaling_factor) ||
      !lora_store::EncodedSize(facts, &size) || target.length != size || user_id.length != lora_store::kUserIdBytes ||
      base.length != facts.rank * facts.input_dim || user.length != facts.rank * facts.output_dim) {
    Napi::RangeError::New(env, "the arrays do not have the lengths that the facts say").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  // A weight that is written over before it is looked for again would be looked for beyond the end of its array.
  if (Overlap(target, size, user_id, user_id.length) || Overlap(target, size, in, sizeof(double) * in.length) ||
      Overlap(target, size, base, sizeof(float) * base.length) ||
      Overlap(target, size, user, sizeof(float) * user.length)) {
    Napi::RangeError::New(env, "the target overlaps what is written to it").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  return Answer(env, lora_store::Encode(facts, user_id.bytes(), base.floats(), user.floats(), target.bytes()), in);
}

// crc32c(bytes: Uint8Array, seed: number): number
template <uint32_t (*kFunction)(uint32_t, const uint8_t*, size_t)>
Napi::Value Crc32c(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  View bytes;
  if (!TakeView(info, 0, napi_uint8_array, &bytes)) return env.Undefined();
  if (!info[1].IsNumber()) {
    Refuse(env, "expected a number as the seed");
    return env.Undefined();
  }
  const uint32_t seed = info[1].As<Napi::Number>().Uint32Value();
  return Napi::Number::New(env, kFunction(seed, bytes.bytes(), bytes.length));
}

// The arrays that every kernel takes first: base, user, scaling. Dimensions are known once a vector of each side is.
struct Layers {
  View base;
  View user;
  double scaling = 0;

  bool Take(const Napi::CallbackInfo& info) {
    if (!TakeView(info, 0, napi_float32_array, &base) || !TakeView(info, 1, napi_float32_array, &user)) return false;
    if (!info[2].IsNumber()) return Refuse(info.Env(), "expected a number as the scaling");
    scaling = info[2].As<Napi::Number>().DoubleValue();
    return true;
  }

  // False, with a RangeError, unless A is rank × input_dim and B output_dim × rank for one rank.
  bool Fit(Napi::Env env, size_t input_dim, size_t output_dim, lora_store::Weights* weights) const {
    const size_t rank = output_dim == 0 ? 0 : user.length / output_dim;
    if (rank == 0 || input_dim == 0 || user.length % output_dim != 0 || base.length % rank != 0 ||
        base.length / rank != input_dim) {
      return Misfit(env);
    }
    *weights = {rank, input_dim, output_dim, static_cast<float>(scaling), base.floats(), user.floats()};
    return true;
  }

  static bool Misfit(Napi::Env env) {
    Napi::RangeError::New(env, "the arrays do not have lengths that fit together").ThrowAsJavaScriptException();
    return false;
  }
};

// Room for a kernel's intermediate vectors: on the stack as a rule, never through an exception.
class Scratch {
 public:
  bool Take(Napi::Env env, size_t length) {
    if (length > kInline) {
      heap_.reset(new (std::nothrow) float[length]);
      if (heap_ == nullptr) return Refuse(env, "no memory for a vector");
    }
    return true;
  }
  float* floats() { return heap_ == nullptr ? inline_ : heap_.get(); }

 private:
  static constexpr size_t kInline = 1024;
  float inline_[kInline];
  std::unique_ptr<float[]> heap_;
};

const lora_store::Kernels& KernelsOf(const Napi::CallbackInfo& info) {
  return *static_cast<const lora_store::Kernels*>(info.Data());
}

// forward(base, user, scaling: number, input, out): all Float32Array.
Napi::Value Forward(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Layers layers;
  View input;
  View out;
  lora_store::Weights weights;
  Scratch scratch;
  if (layers.Take(info) && TakeView(info, 3, napi_float32_array, &input) &&
      TakeView(info, 4, napi_float32_array, &out) && layers.Fit(env, input.length, out.length, &weights) &&
      scratch.Take(env, weights.rank)) {
    KernelsOf(info).forward(weights, input.floats(), scratch.floats(), out.floats());
  }
  return env.Undefined();
}

// score(base, user, scaling: number, input, preference): number
Napi::Value Score(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Layers layers;
  View input;
  View preference;
  lora_store::Weights weights;
  Scratch scratch;
  if (!layers.Take(info) || !TakeView(info, 3, napi_float32_array, &input) ||
      !TakeView(info, 4, napi_float32_array, &preference) ||
      !layers.Fit(env, input.length, preference.length, &weights) || !scratch.Take(env, 2 * weights.rank)) {
    return env.Undefined();
  }
  return Napi::Number::New(env,
                           KernelsOf(info).score(weights, input.floats(), preference.floats(), scratch.floats()));
}

// scoreMany(base, user, scaling: number, inputs, preference, out): as many rows in inputs as there are scores in out.
Napi::Value ScoreMany(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Layers layers;
  View inputs;
  View preference;
  View out;
  lora_store::Weights weights;
  Scratch scratch;
  if (!layers.Take(info) || !TakeView(info, 3, napi_float32_array, &inputs) ||
      !TakeView(info, 4, napi_float32_array, &preference) || !TakeView(info, 5, napi_float32_array, &out)) {
    return env.Undefined();
  }
  const size_t rank = preference.length == 0 ? 0 : layers.user.length / preference.length;
  const size_t input_dim = rank == 0 ? 0 : layers.base.length / rank;
  if (!layers.Fit(env, input_dim, preference.length, &weights)) return env.Undefined();
  if (inputs.length % input_dim != 0 || inputs.length / input_dim != out.length) {
    Layers::Misfit(env);
    return env.Undefined();
  }
  if (!scratch.Take(env, weights.rank + weights.input_dim)) return env.Undefined();
  KernelsOf(info).score_many(weights, inputs.floats(), out.length, preference.floats(), scratch.floats(),
                             out.floats());
  return env.Undefined();
}

// A matrix, and a vector as long as it has rows and one as long as it has columns, by the places of the arguments.
struct Product {
  View matrix;
  View rows;
  View cols;

  bool Take(const Napi::CallbackInfo& info, size_t matrix_at, size_t rows_at, size_t cols_at) {
    if (!TakeView(info, matrix_at, napi_float32_array, &matrix) || !TakeView(info, rows_at, napi_float32_array, &rows) ||
        !TakeView(info, cols_at, napi_float32_array, &cols)) {
      return false;
    }
    // By division: the product of two lengths of their own choosing may not fit.
    const bool fits = rows.length != 0 && cols.length != 0 && matrix.length % rows.length == 0 &&
                      matrix.length / rows.length == cols.length;
    return fits || Layers::Misfit(info.Env());
  }
};

// project(base, input, out [rank])
Napi::Value Project(const Napi::CallbackInfo& info) {
  Product a;
  if (a.Take(info, 0, 2, 1)) {
    KernelsOf(info).project(a.matrix.floats(), a.rows.length, a.cols.length, a.cols.floats(), a.rows.floats());
  }
  return info.Env().Undefined();
}

// reflect(user, preference, out [rank])
Napi::Value Reflect(const Napi::CallbackInfo& info) {
  Product b;
  if (b.Take(info, 0, 1, 2)) {
    KernelsOf(info).reflect(b.matrix.floats(), b.rows.length, b.cols.length, b.rows.floats(), b.cols.floats());
  }
  return info.Env().Undefined();
}

// descend(user, preference, direction [rank]): user is written to.
Napi::Value Descend(const Napi::CallbackInfo& info) {
  Product b;
  if (b.Take(info, 0, 1, 2)) {
    KernelsOf(info).descend(b.matrix.floats(), b.rows.length, b.cols.length, b.rows.floats(), b.cols.floats());
  }
  return info.Env().Undefined();
}

// toHalf(floats: Float32Array, halves: Uint16Array): boolean, and fromHalf(halves, floats): boolean. For tests: a record is
// halved and expanded whole.
template <bool kTo>
Napi::Value ConvertHalf(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  View source;
  View target;
  if (!TakeView(info, 0, kTo ? napi_float32_array : napi_uint16_array, &source) ||
      !TakeView(info, 1, kTo ? napi_uint16_array : napi_float32_array, &target)) {
    return env.Undefined();
  }
  if (source.length != target.length) {
    Layers::Misfit(env);
    return env.Undefined();
  }
  const auto convert = kTo ? KernelsOf(info).to_half : KernelsOf(info).from_half;
  return Napi::Boolean::New(env, convert(source.bytes(), source.length, target.bytes()));
}

// kernels(simd?: string): { simd, and the functions above } | undefined
Napi::Value KernelsFor(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const lora_store::Kernels* kernels = nullptr;
  if (info[0].IsUndefined()) {
    kernels = &lora_store::BestKernels();
  } else if (info[0].IsString()) {
    kernels = lora_store::KernelsNamed(info[0].As<Napi::String>().Utf8Value().c_str());
  } else {
    Refuse(env, "expected the name of lanes");
  }
  if (kernels == nullptr) return env.Undefined();
  // Never written to: the functions only need a pointer that is not const.
  void* const data = const_cast<lora_store::Kernels*>(kernels);
  const Napi::Object functions = Napi::Object::New(env);
  functions.Set("simd", Napi::String::New(env, kernels->name));
  functions.Set("forward", Napi::Function::New<Forward>(env, "forward", data));
  functions.Set("score", Napi::Function::New<Score>(env, "score", data));
  functions.Set("scoreMany", Napi::Function::New<ScoreMany>(env, "scoreMany", data));
  functions.Set("project", Napi::Function::New<Project>(env, "project", data));
  functions.Set("reflect", Napi::Function::New<Reflect>(env, "reflect", data));
  functions.Set("toHalf", Napi::Function::New<ConvertHalf<true>>(env, "toHalf", data));
  functions.Set("fromHalf", Napi::Function::New<ConvertHalf<false>>(env, "fromHalf", data));
  functions.Set("descend", Napi::Function::New<Descend>(env, "descend", data));
  return functions;
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("interface", Napi::Number::New(env, kInterface));
  exports.Set("decode", Napi::Function::New<Decode<lora_store::Precision::kSingle>>(env, "decode"));
  exports.Set("decodeHalf", Napi::Function::New<Decode<lora_store::Precision::kHalf>>(env, "decodeHalf"));
  exports.Set("halve", Napi::Function::New<Halve>(env, "halve"));
  exports.Set("encode", Napi::Function::New<Encode>(env, "encode"));
  exports.Set("crc32c", Napi::Function::New<Crc32c<lora_store::Crc32c>>(env, "crc32c"));
  exports.Set("crc32cFromTables", Napi::Function::New<Crc32c<lora_store::Crc32cPortable>>(env, "crc32cFromTables"));
  exports.Set("kernels", Napi::Function::New<KernelsFor>(env, "kernels"));
  return exports;
}

}  // namespace

NODE_API_MODULE(lora_store, Init)
