// Records, the headers of Redis entries and checksums, for src/adapter/native.ts.
#include <cmath>

#include "addon-arguments.h"
#include "codec.h"
#include "crc32c.h"
#include "entry.h"

namespace lora_store_addon {
namespace {

// Indices of the Float64Arrays in which numbers cross over; src/adapter/native.ts repeats them.
enum Fact { kRank, kInputDim, kOutputDim, kScalingFactor, kTrainingIterations, kOffset, kFactCount };
enum HeaderField { kRevision, kXid, kServer, kUpdatedAt, kVersion, kIsHalf, kSeed, kExpected, kHeaderOffset, kHeaderFieldCount };

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

void Tell(const lora_store::Facts& facts, const View& out) {
  double* const values = out.doubles();
  values[kRank] = static_cast<double>(facts.rank);
  values[kInputDim] = static_cast<double>(facts.input_dim);
  values[kOutputDim] = static_cast<double>(facts.output_dim);
  values[kScalingFactor] = static_cast<double>(facts.scaling_factor);
  values[kTrainingIterations] = static_cast<double>(facts.training_iterations);
}

// Zero, and the facts of a valid record in the array; or the code, and in the array the offset. work(facts, checksum) sees
// the weights of a record whose other bytes are in order.
template <typename Work>
Napi::Value Examine(Napi::Env env, const View& bytes, const View& out, Work work) {
  lora_store::Facts facts{};
  lora_store::Result result = lora_store::Inspect(bytes.bytes(), bytes.length, lora_store::Precision::kSingle, &facts);
  if (result.status == lora_store::Status::kOk) result = work(facts);
  if (result.status == lora_store::Status::kOk) Tell(facts, out);
  return Answer(env, result, out);
}

// verify(bytes: Uint8Array, facts: Float64Array, seed?: number, expected?: number): number
Napi::Value Verify(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  View bytes;
  View out;
  lora_store::Checksum checksum{};
  bool summed = false;
  if (!TakeView(info, 0, napi_uint8_array, &bytes) || !TakeFacts(info, 1, &out) ||
      !TakeChecksum(info, 2, &checksum, &summed)) {
    return env.Undefined();
  }
  return Examine(env, bytes, out, [&](const lora_store::Facts& facts) {
    return lora_store::Verify(bytes.bytes(), bytes.length, facts, summed ? &checksum : nullptr);
  });
}

// decode(bytes: Uint8Array, facts: Float64Array, target: Uint8Array, seed?: number, expected?: number): number
// As verify, and copies the record into target, which is of its length, on the way; of no use after a failure.
Napi::Value Decode(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  View bytes;
  View out;
  View target;
  lora_store::Checksum checksum{};
  bool summed = false;
  if (!TakeView(info, 0, napi_uint8_array, &bytes) || !TakeFacts(info, 1, &out) ||
      !TakeView(info, 2, napi_uint8_array, &target) || !TakeChecksum(info, 3, &checksum, &summed)) {
    return env.Undefined();
  }
  if (target.length != bytes.length || Overlap(target, target.length, bytes, bytes.length) ||
      Overlap(target, target.length, out, sizeof(double) * out.length)) {
    Misfit(env, "the target is not as long as the bytes, or overlaps what is read");
    return env.Undefined();
  }
  return Examine(env, bytes, out, [&](const lora_store::Facts& facts) {
    return lora_store::Copy(bytes.bytes(), bytes.length, facts, summed ? &checksum : nullptr, target.bytes());
  });
}

// decodeHalf(bytes: Uint8Array, facts: Float64Array, seed?: number, expected?: number): Buffer | number
// The record of a valid half, its facts in the array; or the code, and in the array the offset. It is made here, since only
// a look at the bytes tells how long it is.
Napi::Value DecodeHalf(const Napi::CallbackInfo& info) {
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
  lora_store::Result result = lora_store::Inspect(bytes.bytes(), bytes.length, lora_store::Precision::kHalf, &facts);
  if (result.status != lora_store::Status::kOk) return Answer(env, result, out);

  size_t size = 0;
  napi_value record = nullptr;
  void* target = nullptr;
  if (!lora_store::EncodedSize(facts, &size) || napi_create_buffer(env, size, &target, &record) != napi_ok) {
    Refuse(env, "no memory for the record");
    return env.Undefined();
  }
  result = lora_store::Expand(bytes.bytes(), bytes.length, facts, summed ? &checksum : nullptr, static_cast<uint8_t*>(target));
  if (result.status != lora_store::Status::kOk) return Answer(env, result, out);
  Tell(facts, out);
  return Napi::Value(env, record);
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
    Misfit(env, "expected the bytes of a valid record");
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
  facts.scaling_factor = ToFloat(values[kScalingFactor]);
  if (!ToInteger(values[kRank], &facts.rank) || !ToInteger(values[kInputDim], &facts.input_dim) ||
      !ToInteger(values[kOutputDim], &facts.output_dim) ||
      !ToInteger(values[kTrainingIterations], &facts.training_iterations) || !std::isfinite(facts.scaling_factor) ||
      !lora_store::EncodedSize(facts, &size) || target.length != size || user_id.length != lora_store::kUserIdBytes ||
      base.length != facts.rank * facts.input_dim || user.length != facts.rank * facts.output_dim) {
    Misfit(env, "the arrays do not have the lengths that the facts say");
    return env.Undefined();
  }
  // A weight that is written over before it is looked for again would be looked for beyond the end of its array.
  if (Overlap(target, size, user_id, user_id.length) || Overlap(target, size, in, sizeof(double) * in.length) ||
      Overlap(target, size, base, sizeof(float) * base.length) ||
      Overlap(target, size, user, sizeof(float) * user.length)) {
    Misfit(env, "the target overlaps what is written to it");
    return env.Undefined();
  }
  return Answer(env, lora_store::Encode(facts, user_id.bytes(), base.floats(), user.floats(), target.bytes()), in);
}

// crc32c(bytes: Uint8Array, seed: number, way?: string): number | undefined
// way: by its name, for tests; undefined where there is none of that name.
Napi::Value Crc32c(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  View bytes;
  if (!TakeView(info, 0, napi_uint8_array, &bytes)) return env.Undefined();
  lora_store::Crc32cFunction function = lora_store::Crc32c;
  if (!info[1].IsNumber()) {
    Refuse(env, "expected a number as the seed");
    return env.Undefined();
  }
  if (info[2].IsString()) function = lora_store::Crc32cNamed(info[2].As<Napi::String>().Utf8Value());
  if (function == nullptr) return env.Undefined();
  const uint32_t seed = info[1].As<Napi::Number>().Uint32Value();
  return Napi::Number::New(env, function(seed, bytes.bytes(), bytes.length));
}

// readEntryHeader(entry: Uint8Array, key: string, header: Float64Array): number
// The code, and in the array the offset or, with zero, the fields.
Napi::Value ReadEntryHeader(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  View entry;
  View out;
  if (!TakeView(info, 0, napi_uint8_array, &entry) || !TakeView(info, 2, napi_float64_array, &out)) {
    return env.Undefined();
  }
  // A user id and a name of a hundred characters. Room for one character more and the final zero, since a longer key is cut
  // off at the last character that fits, and must not be taken for its beginning.
  constexpr size_t kLongestKey = 512;
  char key[kLongestKey + 5];
  size_t key_length = 0;
  if (!info[1].IsString() ||
      napi_get_value_string_utf8(env, info[1], key, sizeof key, &key_length) != napi_ok) {
    Refuse(env, "expected a string, the key");
    return env.Undefined();
  }
  if (key_length > kLongestKey || out.length < kHeaderFieldCount) {
    Misfit(env, "the key is too long, or there is no room for the header");
    return env.Undefined();
  }
  lora_store::EntryHeader header{};
  const lora_store::Result result = lora_store::ReadEntryHeader(
      entry.bytes(), entry.length, reinterpret_cast<const uint8_t*>(key), key_length, &header);
  double* const fields = out.doubles();
  fields[kHeaderOffset] = static_cast<double>(result.offset);
  fields[kRevision] = header.revision;
  fields[kXid] = header.xid;
  fields[kServer] = header.server;
  fields[kUpdatedAt] = header.updated_at;
  fields[kVersion] = header.version;
  fields[kIsHalf] = header.precision == lora_store::Precision::kHalf ? 1 : 0;
  fields[kSeed] = header.checksum.seed;
  fields[kExpected] = header.checksum.expected;
  return Napi::Number::New(env, static_cast<int>(result.status));
}

}  // namespace

void AddCodec(Napi::Env env, Napi::Object exports) {
  exports.Set("verify", Napi::Function::New<Verify>(env, "verify"));
  exports.Set("decode", Napi::Function::New<Decode>(env, "decode"));
  exports.Set("decodeHalf", Napi::Function::New<DecodeHalf>(env, "decodeHalf"));
  exports.Set("halve", Napi::Function::New<Halve>(env, "halve"));
  exports.Set("encode", Napi::Function::New<Encode>(env, "encode"));
  exports.Set("readEntryHeader", Napi::Function::New<ReadEntryHeader>(env, "readEntryHeader"));
  exports.Set("crc32c", Napi::Function::New<Crc32c>(env, "crc32c"));
}

}  // namespace lora_store_addon
