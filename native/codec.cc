#include "codec.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "copy.h"
#include "crc32c.h"
#include "kernels.h"

// Records are little-endian and so are the views that JavaScript lays over them: loads and stores below rely on it.
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "lora-store needs a little-endian machine"
#endif

#if defined(__FAST_MATH__)
#error "lora-store looks for NaN: compile it without -ffast-math"
#endif

namespace lora_store {
namespace {

static_assert(sizeof(float) == 4 && std::numeric_limits<float>::is_iec559, "weights are IEEE 754 binary32");

constexpr size_t kBaseWeightsAt = 48;
constexpr size_t kLayerHeaderBytes = 24;
constexpr size_t kTailBytes = 20;
constexpr size_t kFixedBytes = kBaseWeightsAt + kLayerHeaderBytes + kTailBytes;

template <typename T>
T Load(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

template <typename T>
void Store(uint8_t* target, T value) {
  std::memcpy(target, &value, sizeof value);
}

// Reads fields in order. The first failure sticks: everything after it fails too, and leaves it as it is.
class Reader {
 public:
  Reader(const uint8_t* bytes, size_t length, Precision precision)
      : bytes_(bytes), length_(length), weight_bytes_(static_cast<size_t>(precision)) {}

  bool Fail(Status status, size_t offset) {
    if (result_.status == Status::kOk) result_ = {status, offset};
    return false;
  }

  bool Skip(uint64_t size) {
    if (result_.status != Status::kOk) return false;
    if (size > length_ - at_) return Fail(Status::kTruncated, at_);
    at_ += static_cast<size_t>(size);
    return true;
  }

  template <typename T>
  bool Read(T* value) {
    if (!Skip(sizeof(T))) return false;
    *value = Load<T>(bytes_ + at_ - sizeof(T));
    return true;
  }

  bool ReadLength(uint64_t* value) {
    if (!Read(value)) return false;
    return *value <= kMaxSafeInteger || Fail(Status::kLengthTooLarge, at_ - 8);
  }

  bool ReadDimension(uint64_t* value) {
    if (!ReadLength(value)) return false;
    return *value != 0 || Fail(Status::kZeroDimension, at_ - 8);
  }

  bool SkipWeights(uint64_t rows, uint64_t cols) {
    uint64_t count;
    if (!ReadLength(&count)) return false;
    // Division, because rows × cols of hostile lengths would overflow.
    if (count % rows != 0 || count / rows != cols) return Fail(Status::kWeightCount, at_ - 8);
    return Skip(weight_bytes_ * count);
  }

  size_t at() const { return at_; }
  size_t left() const { return length_ - at_; }
  Result result() const { return result_; }

 private:
  const uint8_t* bytes_;
  size_t length_;
  size_t weight_bytes_;
  size_t at_ = 0;
  Result result_ = {Status::kOk, 0};
};

size_t FirstNotFinite(const uint8_t* weights) {
  size_t i = 0;
  while ((Load<uint32_t>(weights + 4 * i) & 0x7f800000u) != 0x7f800000u) i++;
  return i;
}

size_t FirstNotFiniteHalf(const uint8_t* weights) {
  size_t i = 0;
  while ((Load<uint16_t>(weights + 2 * i) & 0x7c00u) != 0x7c00u) i++;
  return i;
}

// Where the parts of a record begin, by the bytes of a weight.
struct Places {
  Places(const Facts& facts, size_t weight_bytes)
      : user_header(kBaseWeightsAt + weight_bytes * facts.base_count()),
        user_weights(user_header + kLayerHeaderBytes),
        tail(user_weights + weight_bytes * facts.user_count()) {}

  size_t user_header;
  size_t user_weights;
  size_t tail;
};

// Moves a record from one memory to another, and sums what it reads on the way.
class Mover {
 public:
  Mover(const uint8_t* source, const Checksum* checksum, uint8_t* target)
      : source_(source), target_(target), checksum_(checksum), crc_{checksum != nullptr, checksum == nullptr ? 0 : checksum->seed} {}

  void Bytes(size_t from, size_t to, size_t count) {
    if (crc_.wanted) crc_.value = Crc32c(crc_.value, source_ + from, count);
    std::memcpy(target_ + to, source_ + from, count);
  }

  // move(source, count, target, checksum) says whether count weights are good; bad(source) finds the first that is not.
  template <typename Move, typename Bad>
  void Weights(size_t from, size_t from_bytes, size_t to, size_t count, Move move, Bad bad) {
    if (move(source_ + from, count, target_ + to, &crc_) || result_.status != Status::kOk) return;
    result_ = {Status::kWeight, from + from_bytes * bad(source_ + from)};
  }

  // A wrong checksum says more than the NaN that an accident made.
  Result result() const {
    if (crc_.wanted && crc_.value != checksum_->expected) return {Status::kChecksum, 0};
    return result_;
  }

 private:
  const uint8_t* source_;
  uint8_t* target_;
  const Checksum* checksum_;
  RunningChecksum crc_;
  Result result_ = {Status::kOk, 0};
};

template <typename Move, typename Bad>
Result MoveRecord(Mover mover, size_t length, const Facts& facts, size_t from_bytes, size_t to_bytes, Move move, Bad bad) {
  const Places from(facts, from_bytes);
  const Places to(facts, to_bytes);
  mover.Bytes(0, 0, kBaseWeightsAt);
  mover.Weights(kBaseWeightsAt, from_bytes, kBaseWeightsAt, facts.base_count(), move, bad);
  mover.Bytes(from.user_header, to.user_header, kLayerHeaderBytes);
  mover.Weights(from.user_weights, from_bytes, to.user_weights, facts.user_count(), move, bad);
  mover.Bytes(from.tail, to.tail, length - from.tail);
  return mover.result();
}

// One layer's weights, which start at `offset` of the record.
Result CopyLayer(const uint8_t* source, size_t count, uint8_t* record, size_t offset) {
  RunningChecksum none{};
  if (CopyWeights(source, count, record + offset, &none)) return {Status::kOk, 0};
  return {Status::kWeight, offset + 4 * FirstNotFinite(source)};
}

}  // namespace

Result Inspect(const uint8_t* bytes, size_t length, Precision precision, Facts* facts) {
  Reader reader(bytes, length, precision);
  uint64_t value = 0;

  if (reader.Read(&value) && value != kUserIdBytes) reader.Fail(Status::kUserIdLength, 0);
  reader.Skip(kUserIdBytes);

  if (reader.ReadDimension(&facts->rank) && reader.ReadDimension(&facts->input_dim)) {
    reader.SkipWeights(facts->rank, facts->input_dim);
  }
  if (reader.ReadDimension(&facts->output_dim) && reader.ReadDimension(&value)) {
    if (value != facts->rank) reader.Fail(Status::kLayerRanks, reader.at() - 8);
    else reader.SkipWeights(facts->output_dim, facts->rank);
  }

  if (reader.Read(&value) && value != facts->rank) reader.Fail(Status::kRankField, reader.at() - 8);
  if (reader.Read(&facts->scaling_factor) && !std::isfinite(facts->scaling_factor)) {
    reader.Fail(Status::kScalingFactor, reader.at() - 4);
  }
  if (reader.Read(&facts->training_iterations) && facts->training_iterations > kMaxSafeInteger) {
    reader.Fail(Status::kTrainingIterations, reader.at() - 8);
  }
  if (reader.left() != 0) reader.Fail(Status::kTrailingBytes, reader.at());
  return reader.result();
}

Result Verify(const uint8_t* bytes, size_t length, const Facts& facts, const Checksum* checksum) {
  // A wrong checksum says more than the NaN that an accident made.
  if (checksum != nullptr && Crc32c(checksum->seed, bytes, length) != checksum->expected) return {Status::kChecksum, 0};
  const Places at(facts, 4);
  const Kernels& kernels = BestKernels();
  for (const auto& [offset, count] : {std::pair(kBaseWeightsAt, facts.base_count()), std::pair(at.user_weights, facts.user_count())}) {
    if (!kernels.finite(bytes + offset, count)) return {Status::kWeight, offset + 4 * FirstNotFinite(bytes + offset)};
  }
  return {Status::kOk, 0};
}

Result Copy(const uint8_t* bytes, size_t length, const Facts& facts, const Checksum* checksum, uint8_t* target) {
  return MoveRecord(Mover(bytes, checksum, target), length, facts, 4, 4, CopyWeights, FirstNotFinite);
}

Result Expand(const uint8_t* bytes, size_t length, const Facts& facts, const Checksum* checksum, uint8_t* target) {
  return MoveRecord(Mover(bytes, checksum, target), length, facts, 2, 4, ExpandWeights, FirstNotFiniteHalf);
}

Result Halve(const uint8_t* bytes, size_t length, const Facts& facts, uint8_t* target) {
  const auto move = [](const uint8_t* source, size_t count, uint8_t* to, RunningChecksum*) {
    return BestKernels().to_half(source, count, to);
  };
  const auto where = [](const uint8_t*) { return size_t{0}; };
  return MoveRecord(Mover(bytes, nullptr, target), length, facts, 4, 2, move, where);
}

size_t HalfSize(const Facts& facts) { return kFixedBytes + 2 * (facts.base_count() + facts.user_count()); }

bool EncodedSize(const Facts& facts, size_t* size) {
  if (facts.rank == 0 || facts.input_dim == 0 || facts.output_dim == 0) return false;
  if (facts.input_dim > kMaxSafeInteger || facts.output_dim > kMaxSafeInteger) return false;
  constexpr uint64_t kMost = (std::numeric_limits<size_t>::max() - kFixedBytes) / 4;
  const uint64_t columns = facts.input_dim + facts.output_dim;
  if (facts.rank > kMost / columns) return false;
  *size = kFixedBytes + 4 * static_cast<size_t>(facts.rank * columns);
  return true;
}

Result Encode(const Facts& facts, const uint8_t* user_id, const float* base, const float* user, uint8_t* target) {
  const uint64_t base_count = facts.base_count();
  const uint64_t user_count = facts.user_count();
  const Places at(facts, 4);

  Store<uint64_t>(target, kUserIdBytes);
  std::memcpy(target + 8, user_id, kUserIdBytes);
  Store(target + 24, facts.rank);
  Store(target + 32, facts.input_dim);
  Store(target + 40, base_count);
  Store(target + at.user_header, facts.output_dim);
  Store(target + at.user_header + 8, facts.rank);
  Store(target + at.user_header + 16, user_count);
  Store(target + at.tail, facts.rank);
  Store(target + at.tail + 8, facts.scaling_factor);
  Store(target + at.tail + 12, facts.training_iterations);

  const auto* base_bytes = reinterpret_cast<const uint8_t*>(base);
  const auto* user_bytes = reinterpret_cast<const uint8_t*>(user);
  const Result result = CopyLayer(base_bytes, facts.base_count(), target, kBaseWeightsAt);
  if (result.status != Status::kOk) return result;
  return CopyLayer(user_bytes, facts.user_count(), target, at.user_weights);
}

}  // namespace lora_store
