// Training runs off the event loop, for src/adapter/native.ts. Whatever JavaScript does meanwhile, the thread that trains
// sees only memory of its own job: arrays are copied before the call returns.
#include <cmath>
#include <cstring>
#include <memory>
#include <new>

#include "addon-arguments.h"
#include "descent.h"

namespace lora_store_addon {
namespace {

// Indices into the settings; src/adapter/native.ts repeats them.
enum Setting { kScaling, kSquaredPreference, kLearningRate, kEpochs, kSettingCount };

constexpr double kMostEpochs = 1 << 20;

template <typename T>
bool Copy(const View& from, std::unique_ptr<T[]>* to) {
  to->reset(new (std::nothrow) T[from.length]);
  if (*to == nullptr) return false;
  // Of an empty array there is no memory to name.
  if (from.length > 0) std::memcpy(to->get(), from.data, from.length * sizeof(T));
  return true;
}

struct Job {
  lora_store::Descent run{};
  std::unique_ptr<float[]> hidden;
  std::unique_ptr<uint32_t[]> contents;
  std::unique_ptr<double[]> labels;
  std::unique_ptr<double[]> current;
  std::unique_ptr<double[]> results;  // Direction, then losses.
  size_t result_count = 0;
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
};

void Execute(napi_env, void* data) {
  const Job& job = *static_cast<Job*>(data);
  lora_store::RunDescent(job.run, job.current.get(), job.results.get(), job.results.get() + job.run.rank);
}

// Node waits for the thread when an environment ends, and calls this then, too: every call below fails there, and nobody
// is left to be told. So it is the plain interface, whose failures are values, and not the wrapper, which would throw.
void Complete(napi_env env, napi_status status, void* data) {
  const std::unique_ptr<Job> job(static_cast<Job*>(data));
  napi_delete_async_work(env, job->work);
  napi_value buffer = nullptr;
  napi_value results = nullptr;
  void* memory = nullptr;
  const size_t bytes = job->result_count * sizeof(double);
  if (status == napi_ok && napi_create_arraybuffer(env, bytes, &memory, &buffer) == napi_ok &&
      napi_create_typedarray(env, napi_float64_array, job->result_count, buffer, 0, &results) == napi_ok) {
    std::memcpy(memory, job->results.get(), bytes);
    napi_resolve_deferred(env, job->deferred, results);
    return;
  }
  napi_value message = nullptr;
  napi_value error = nullptr;
  if (napi_create_string_utf8(env, "the training run could not be finished", NAPI_AUTO_LENGTH, &message) == napi_ok &&
      napi_create_error(env, nullptr, message, &error) == napi_ok) {
    napi_reject_deferred(env, job->deferred, error);
  }
}

// Into the job, which is checked as it will be used. False, with an error, where it does not fit.
bool Take(const Napi::CallbackInfo& info, Job* job) {
  const Napi::Env env = info.Env();
  View hidden;
  View contents;
  View labels;
  View reflected;
  View settings;
  if (!TakeView(info, 0, napi_float32_array, &hidden) || !TakeView(info, 1, napi_uint32_array, &contents) ||
      !TakeView(info, 2, napi_float64_array, &labels) || !TakeView(info, 3, napi_float32_array, &reflected) ||
      !TakeView(info, 4, napi_float64_array, &settings)) {
    return false;
  }
  const double epochs = settings.length == kSettingCount ? settings.doubles()[kEpochs] : 0;
  if (reflected.length == 0 || hidden.length % reflected.length != 0 || contents.length == 0 ||
      contents.length != labels.length || !(epochs >= 1 && epochs <= kMostEpochs) || epochs != std::floor(epochs)) {
    return Misfit(env);
  }
  job->result_count = reflected.length + static_cast<size_t>(epochs);
  job->current.reset(new (std::nothrow) double[reflected.length]);
  job->results.reset(new (std::nothrow) double[job->result_count]);
  if (job->current == nullptr || job->results == nullptr || !Copy(hidden, &job->hidden) ||
      !Copy(contents, &job->contents) || !Copy(labels, &job->labels)) {
    return Refuse(env, "no memory for the training run");
  }
  const size_t rows = hidden.length / reflected.length;
  for (size_t event = 0; event < contents.length; event++) {
    if (job->contents[event] >= rows) return Misfit(env, "an event is about a content that is not there");
  }
  for (size_t k = 0; k < reflected.length; k++) job->current[k] = reflected.floats()[k];
  const double* const values = settings.doubles();
  job->run = {reflected.length,    contents.length,           static_cast<size_t>(epochs),  job->hidden.get(),
              job->contents.get(), job->labels.get(),         values[kScaling],             values[kSquaredPreference],
              values[kLearningRate]};
  return true;
}

// descent(hidden: Float32Array, contents: Uint32Array, labels: Float64Array, reflected: Float32Array, settings: Float64Array):
// Promise<Float64Array>, direction and then losses.
Napi::Value Descent(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::unique_ptr<Job> job(new (std::nothrow) Job);
  if (job == nullptr) {
    Refuse(env, "no memory for the training run");
    return env.Undefined();
  }
  napi_value name = nullptr;
  napi_value promise = nullptr;
  if (!Take(info, job.get())) return env.Undefined();
  if (napi_create_string_utf8(env, "lora-store:descent", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_async_work(env, nullptr, name, Execute, Complete, job.get(), &job->work) != napi_ok) {
    Refuse(env, "no thread for the training run");
    return env.Undefined();
  }
  if (napi_create_promise(env, &job->deferred, &promise) != napi_ok ||
      napi_queue_async_work(env, job->work) != napi_ok) {
    napi_delete_async_work(env, job->work);
    Refuse(env, "no thread for the training run");
    return env.Undefined();
  }
  job.release();  // Complete() takes it over.
  return Napi::Value(env, promise);
}

}  // namespace

void AddDescent(Napi::Env env, Napi::Object exports) {
  exports.Set("descent", Napi::Function::New<Descent>(env, "descent"));
}

}  // namespace lora_store_addon
