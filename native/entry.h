// The header of a Redis entry (docs/format.md), as bytes. Promises what codec.h does: reads nothing outside what it is given,
// never throws, never allocates. The readable reference is src/adapter/entry-header.ts.
#ifndef LORA_STORE_ENTRY_H_
#define LORA_STORE_ENTRY_H_

#include "codec.h"

namespace lora_store {

constexpr size_t kEntryHeaderBytes = 48;

struct EntryHeader {
  double revision;
  double xid;
  double server;
  double updated_at;
  uint32_t version;     // 0: the adapter is absent, and no body follows.
  Precision precision;  // Of the body.
  Checksum checksum;    // What the body continues, and must come to.
};

// Reads the header of what Redis holds under this key. Proves that the entry is as long as it says and, where no body
// follows, its checksum; a body's checksum is left to who reads the body. Offsets are those of the entry.
Result ReadEntryHeader(const uint8_t* bytes, size_t length, const uint8_t* key, size_t key_length, EntryHeader* header);

}  // namespace lora_store

#endif  // LORA_STORE_ENTRY_H_
