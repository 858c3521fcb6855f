#include "server/weights/sqlite_version.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error_text.h"
#include "server/weights/named_tensor.h"

namespace attention::weights {
namespace {

// SQLite holds a row in memory as a whole.
constexpr size_t kChunkBytes = size_t{1} << 20;

// As the contract numbers Layout.
constexpr int64_t kInOut = 1;
constexpr int64_t kOutIn = 2;

int64_t UnixNanoseconds(std::chrono::system_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             time.time_since_epoch())
      .count();
}

std::chrono::system_clock::time_point FromUnixNanoseconds(int64_t count) {
  return std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(
          std::chrono::nanoseconds(count)));
}

absl::Status InsertTensor(SqliteDatabase& database,
                          const WeightSetVersion::Record& record,
                          const NamedTensor& named) {
  const StoredTensor& tensor = *named.tensor;
  SqliteStatement row = database.Prepare(
      "INSERT INTO tensor (name, version, path, first_axis, second_axis) "
      "VALUES (?1, ?2, ?3, ?4, ?5)");
  row.BindText(1, record.name)
      .Bind(2, record.version)
      .BindText(3, named.path)
      .Bind(4, tensor.shape[0]);
  if (tensor.shape.size() > 1) {
    row.Bind(5, tensor.shape[1]);
  } else {
    row.BindNull(5);
  }
  absl::Status status = row.Run();

  SqliteStatement chunk = database.Prepare(
      "INSERT INTO chunk (name, version, path, byte_offset, data) "
      "VALUES (?1, ?2, ?3, ?4, ?5)");
  const absl::string_view data = tensor.data;
  for (size_t offset = 0; offset < data.size() && status.ok();
       offset += kChunkBytes) {
    status = chunk.BindText(1, record.name)
                 .Bind(2, record.version)
                 .BindText(3, named.path)
                 .Bind(4, static_cast<int64_t>(offset))
                 .BindBytes(5, data.substr(offset, kChunkBytes))
                 .Run();
  }
  return status;
}

// Where the tensor of that path is in `contents`, which gets a place for it;
// null if no tensor has this path.
StoredTensor* PlaceOf(absl::string_view path, WeightSetContents& contents) {
  const size_t dot = path.find('.');
  if (dot == absl::string_view::npos) return nullptr;
  const absl::string_view owner = path.substr(0, dot);
  const absl::string_view part = path.substr(dot + 1);
  StoredProjection* projection = nullptr;
  if (owner == "query") projection = &contents.query;
  if (owner == "key") projection = &contents.key;
  if (owner == "value") projection = &contents.value;
  if (owner == "output") {
    if (!contents.output.has_value()) contents.output.emplace();
    projection = &*contents.output;
  }
  if (projection == nullptr) return nullptr;
  if (part == "weight") return &projection->weight;
  if (part == "bias") return &projection->bias.emplace();
  return nullptr;
}

// Makes room for the bytes of one tensor at once: a string that grows with each
// chunk would end up, and stay, larger than they are.
absl::Status ReserveBytes(SqliteDatabase& database,
                          const WeightSetVersion::Record& record,
                          const std::string& path, StoredTensor& tensor) {
  SqliteStatement row = database.Prepare(
      "SELECT sum(length(data)) FROM chunk "
      "WHERE name = ?1 AND version = ?2 AND path = ?3");
  row.BindText(1, record.name).Bind(2, record.version).BindText(3, path);
  const absl::StatusOr<bool> found = row.Step();
  if (!found.ok()) return found.status();
  tensor.data.reserve(static_cast<size_t>(row.Number(0)));
  return absl::OkStatus();
}

// The bytes of one tensor. How many there have to be CheckShapes knows.
absl::Status ReadChunks(SqliteDatabase& database,
                        const WeightSetVersion::Record& record,
                        const std::string& path, StoredTensor& tensor) {
  SqliteStatement rows = database.Prepare(
      "SELECT byte_offset, data FROM chunk "
      "WHERE name = ?1 AND version = ?2 AND path = ?3 ORDER BY byte_offset");
  rows.BindText(1, record.name).Bind(2, record.version).BindText(3, path);
  return rows.ForEachRow([&]() -> absl::Status {
    if (rows.Number(0) != static_cast<int64_t>(tensor.data.size())) {
      return absl::DataLossError(absl::StrCat("after byte ", tensor.data.size(),
                                              " of ", path, " comes byte ",
                                              rows.Number(0)));
    }
    absl::StrAppend(&tensor.data, rows.Bytes(1));
    return absl::OkStatus();
  });
}

absl::Status ReadTensors(SqliteDatabase& database,
                         WeightSetVersion::Record& record) {
  SqliteStatement rows = database.Prepare(
      "SELECT path, first_axis, second_axis FROM tensor "
      "WHERE name = ?1 AND version = ?2 ORDER BY path");
  rows.BindText(1, record.name).Bind(2, record.version);
  return rows.ForEachRow([&]() -> absl::Status {
    const std::string path = rows.Text(0);
    StoredTensor* const tensor = PlaceOf(path, record.contents);
    if (tensor == nullptr) {
      return absl::DataLossError(
          absl::StrCat("has a tensor whose path is ", Quoted(path)));
    }
    tensor->shape = {rows.Number(1)};
    if (!rows.IsNull(2)) tensor->shape.push_back(rows.Number(2));
    for (const auto read : {ReserveBytes, ReadChunks}) {
      if (absl::Status status = read(database, record, path, *tensor);
          !status.ok()) {
        return status;
      }
    }
    return absl::OkStatus();
  });
}

absl::Status ReadAnnotations(SqliteDatabase& database,
                             WeightSetVersion::Record& record) {
  SqliteStatement rows = database.Prepare(
      "SELECT annotation_key, annotation_value FROM annotation "
      "WHERE name = ?1 AND version = ?2");
  rows.BindText(1, record.name).Bind(2, record.version);
  return rows.ForEachRow([&]() -> absl::Status {
    record.annotations[rows.Text(0)] = rows.Text(1);
    return absl::OkStatus();
  });
}

// What is known of a version beside its tensors and annotations.
absl::Status ReadRow(SqliteDatabase& database,
                     WeightSetVersion::Record& record) {
  SqliteStatement row = database.Prepare(
      "SELECT create_time_unix_ns, idempotency_key, dtype, layout, num_heads, "
      "num_kv_heads, sha256 FROM version WHERE name = ?1 AND version = ?2");
  const absl::StatusOr<bool> found =
      row.BindText(1, record.name).Bind(2, record.version).Step();
  if (!found.ok()) return found.status();
  if (!*found) return absl::DataLossError("has no row of its own");
  record.create_time = FromUnixNanoseconds(row.Number(0));
  record.idempotency_key = row.Text(1);
  record.contents.dtype = static_cast<DType>(row.Number(2));
  const int64_t layout = row.Number(3);
  record.contents.layout =
      layout == kInOut ? core::Layout::kInOut : core::Layout::kOutIn;
  record.contents.num_heads = row.Number(4);
  record.contents.num_kv_heads = row.Number(5);
  record.sha256 = row.Text(6);
  if (record.version < 1 || ElementSize(record.contents.dtype) == 0 ||
      (layout != kInOut && layout != kOutIn) || record.sha256.empty()) {
    return absl::DataLossError(absl::StrCat("has dtype ", row.Number(2),
                                            ", layout ", layout, " and sha256 ",
                                            Quoted(record.sha256)));
  }
  return absl::OkStatus();
}

// Takes out of the ledger what the version will hold.
absl::StatusOr<memory::Loan> TakeFor(SqliteDatabase& database,
                                     const WeightSetVersion::Record& record,
                                     memory::Ledger& ledger) {
  SqliteStatement row = database.Prepare(
      "SELECT coalesce(sum(length(data)), 0) FROM chunk "
      "WHERE name = ?1 AND version = ?2");
  row.BindText(1, record.name).Bind(2, record.version);
  const absl::StatusOr<bool> found = row.Step();
  if (!found.ok()) return found.status();
  const int64_t bytes = HeldBytes(record.contents.dtype, row.Number(0)) +
                        WeightSetVersion::FactsBytes(record);
  memory::Loan held(ledger, memory::Kind::kWeights);
  if (held.Take(bytes)) return held;
  return memory::NotLent(
      ledger,
      absl::StrCat("version ", record.version, " of ", Quoted(record.name)),
      /*before=*/0, bytes);
}

}  // namespace

absl::Status InsertVersion(SqliteDatabase& database,
                           const WeightSetVersion::Record& record) {
  const WeightSetContents& contents = record.contents;
  SqliteStatement row = database.Prepare(
      "INSERT INTO version (name, version, create_time_unix_ns, "
      "idempotency_key, dtype, layout, num_heads, num_kv_heads, sha256) "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
  absl::Status status =
      row.BindText(1, record.name)
          .Bind(2, record.version)
          .Bind(3, UnixNanoseconds(record.create_time))
          .BindBytes(4, record.idempotency_key)
          .Bind(5, static_cast<int64_t>(contents.dtype))
          .Bind(6, contents.layout == core::Layout::kInOut ? kInOut : kOutIn)
          .Bind(7, contents.num_heads)
          .Bind(8, contents.num_kv_heads)
          .BindText(9, record.sha256)
          .Run();
  SqliteStatement annotation = database.Prepare(
      "INSERT INTO annotation (name, version, annotation_key, "
      "annotation_value) VALUES (?1, ?2, ?3, ?4)");
  for (const auto& [key, value] : record.annotations) {
    if (!status.ok()) return status;
    status = annotation.BindText(1, record.name)
                 .Bind(2, record.version)
                 .BindBytes(3, key)
                 .BindBytes(4, value)
                 .Run();
  }
  for (const NamedTensor& named : NamedTensors(contents)) {
    if (!status.ok()) return status;
    status = InsertTensor(database, record, named);
  }
  return status;
}

absl::StatusOr<std::shared_ptr<const WeightSetVersion>> LoadVersion(
    SqliteDatabase& database, const std::string& name, int64_t version,
    memory::Ledger& ledger) {
  WeightSetVersion::Record record;
  record.name = name;
  record.version = version;
  for (const auto read : {ReadRow, ReadAnnotations}) {
    if (absl::Status status = read(database, record); !status.ok()) {
      return status;
    }
  }
  absl::StatusOr<memory::Loan> held = TakeFor(database, record, ledger);
  if (!held.ok()) return held.status();
  absl::Status status = ReadTensors(database, record);
  if (!status.ok()) return status;
  absl::StatusOr<std::unique_ptr<WeightSetVersion>> made =
      WeightSetVersion::Make(std::move(record), *std::move(held));
  // It was well-formed when it was stored.
  if (!made.ok()) return absl::DataLossError(made.status().message());
  return *std::move(made);
}

}  // namespace attention::weights
