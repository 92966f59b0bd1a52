// Writes what the fuzzers start from: seeds RECORD... DIRECTORY. The golden records, the half of each, entries of both, and, for each length at
// which codec.cc or crc32c.cc change their step, a record whose first layer is about as long.
#include <fstream>
#include <iterator>
#include <string>

#include "../../native/entry.h"
#include "check.h"
#include "records.h"

using namespace lora_store;
using lora_store_test::Bytes;
using lora_store_test::FactsOf;
using lora_store_test::RecordOf;

namespace {

void Write(const std::string& path, const Bytes& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  CHECK(file.good());
}

// As entry.cc takes it: a key, a header, a body.
Bytes EntryOf(const char* magic, const Bytes& body) {
  Bytes entry{1, 'k'};
  entry.insert(entry.end(), magic, magic + 4);
  entry.resize(2 + kEntryHeaderBytes);
  entry[2 + 40] = 1;
  const auto length = static_cast<uint32_t>(body.size());
  std::memcpy(&entry[2 + 44], &length, sizeof length);
  entry.insert(entry.end(), body.begin(), body.end());
  return entry;
}

void WriteAll(const std::string& path, const Bytes& record) {
  Facts facts{};
  CHECK(Inspect(record.data(), record.size(), Precision::kSingle, &facts).status == Status::kOk);
  Bytes half(HalfSize(facts));
  CHECK(Halve(record.data(), record.size(), facts, half.data()).status == Status::kOk);
  Write(path, record);
  Write(path + ".half", half);
  Write(path + ".entry", EntryOf("LRS1", record));
  Write(path + ".half.entry", EntryOf("LRH1", half));
}

}  // namespace

int main(int count, char** arguments) {
  CHECK(count > 2);
  const std::string to = std::string(arguments[count - 1]) + "/";
  for (int i = 1; i < count - 1; i++) {
    std::ifstream file(arguments[i], std::ios::binary);
    const Bytes record{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    WriteAll(to + "golden" + std::to_string(i), record);
  }
  for (const uint64_t length : {8, 16, 384, 385, 1536, 1537, 3072, 3073}) {
#include "../../native/entry.h"
    WriteAll(to + "one" + std::to_string(length), RecordOf(FactsOf(1, length, 3)));
  }
}
