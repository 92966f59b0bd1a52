// The arithmetic, on lanes of the caller's choice, for src/adapter/native.ts.
#include <memory>
#include <new>

#include "addon-arguments.h"
#include "kernels.h"

namespace lora_store_addon {
namespace {

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
    *weights = {rank, input_dim, output_dim, ToFloat(scaling), base.floats(), user.floats()};
    return true;
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
    Misfit(env);
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
    return fits || Misfit(info.Env());
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
    Misfit(env);
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
    kernels = lora_store::KernelsNamed(info[0].As<Napi::String>().Utf8Value());
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

}  // namespace

void AddKernels(Napi::Env env, Napi::Object exports) {
  exports.Set("kernels", Napi::Function::New<KernelsFor>(env, "kernels"));
}

}  // namespace lora_store_addon
