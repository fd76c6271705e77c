// What libtorch does on this thread between `counters_start` and `counters_stop`: operations that its dispatcher runs, the
// floating-point operations of its products, and the bytes that its host allocator hands out.
//
// Both hooks are libtorch's own and thread-local: a RecordFunction callback, and a reporter of memory in the thread's debug
// information. Nothing is installed while nothing is counted. The backward pass of host tensors runs on the calling thread.

#include <ATen/record_function.h>
#include <c10/core/Allocator.h>
#include <c10/util/Logging.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

struct Totals {
  uint64_t flops;
  uint64_t allocated_bytes;
  uint64_t peak_bytes;
};

namespace {

struct Memory : public c10::MemoryReportingInfoBase {
  uint64_t allocated = 0, live = 0, peak = 0;
  // Only what was allocated while counting: the size of an older block is known to nobody.
  std::unordered_map<void*, uint64_t> blocks;

  void reportMemoryUsage(void* block, int64_t bytes, size_t, size_t, c10::Device device) override {
    if (!device.is_cpu()) return;
    if (bytes > 0) {
      blocks[block] = bytes;
      allocated += bytes;
      live += bytes;
      peak = std::max(peak, live);
    } else if (auto found = blocks.find(block); found != blocks.end()) {
      live -= found->second;
      blocks.erase(found);
    }
  }

  bool memoryProfilingEnabled() const override { return true; }
};

struct Counting {
  std::map<std::string, uint64_t> calls;
  uint64_t flops = 0;
  // Products that are being computed: those inside one are its own work (`mv` runs `addmv_`).
  int products = 0;
  std::shared_ptr<Memory> memory = std::make_shared<Memory>();
  at::CallbackHandle callback = 0;
  std::unique_ptr<c10::DebugInfoGuard> guard;
  int log_level = 0;
};

thread_local std::unique_ptr<Counting> counting;

// Multiplications and additions of the products that libtorch has kernels for; two for each pair of factors.
uint64_t flops_of(const std::string& name, c10::ArrayRef<const c10::IValue> inputs) {
  auto shape = [&](size_t index) -> c10::IntArrayRef {
    if (index >= inputs.size() || !inputs[index].isTensor()) return {};
    return inputs[index].toTensor().sizes();
  };
  auto product = [](c10::IntArrayRef a, c10::IntArrayRef b, size_t dims) -> uint64_t {
    if (a.size() != dims || b.empty()) return 0;
    uint64_t flops = 2;
    for (int64_t size : a) flops *= size;
    return b.size() == dims ? flops * b.back() : flops;  // or times a vector
  };
  // Products of `queries` and `keys` in an attention of `q [B, H, L, E]` over `k [B, H, S, E]`.
  auto attention = [&](size_t q, uint64_t products) -> uint64_t {
    if (shape(q).size() != 4 || shape(q + 1).size() != 4) return 0;
    uint64_t flops = 2 * products * shape(q + 1)[2];
    for (int64_t size : shape(q)) flops *= size;
    return flops;
  };
  if (name == "aten::mm" || name == "aten::mv") return product(shape(0), shape(1), 2);
  if (name == "aten::addmm" || name == "aten::addmm_" || name == "aten::addmv" || name == "aten::addmv_")
    return product(shape(1), shape(2), 2);
  if (name == "aten::bmm") return product(shape(0), shape(1), 3);
  if (name == "aten::baddbmm" || name == "aten::baddbmm_") return product(shape(1), shape(2), 3);
  if (name == "aten::dot") return shape(0).size() == 1 ? 2 * shape(0)[0] : 0;
  // Scores and values; backward computes the scores again, and four gradients.
  if (name == "aten::_scaled_dot_product_flash_attention_for_cpu") return attention(0, 2);
  if (name == "aten::_scaled_dot_product_flash_attention_for_cpu_backward") return attention(1, 5);
  return 0;
}

struct Product : public at::ObserverContext {};

std::unique_ptr<at::ObserverContext> started(const at::RecordFunction& function) {
  if (!counting) return nullptr;
  const std::string name = function.name();
  counting->calls[name] += 1;
  const uint64_t flops = flops_of(name, function.inputs());
  if (flops == 0) return nullptr;
  if (counting->products++ == 0) counting->flops += flops;
  return std::make_unique<Product>();
}

void ended(const at::RecordFunction&, at::ObserverContext* product) {
  if (counting && product != nullptr) counting->products -= 1;
}

}  // namespace

extern "C" {

// False if this thread counts already.
bool counters_start() {
  if (counting) return false;
  counting = std::make_unique<Counting>();
  // libtorch warns that it does not know the size of blocks older than the reporter.
  counting->log_level = std::exchange(FLAGS_caffe2_log_level, 2);
  counting->callback = at::addThreadLocalCallback(
      at::RecordFunctionCallback(started, ended).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
  counting->guard = std::make_unique<c10::DebugInfoGuard>(c10::DebugInfoKind::PROFILER_STATE, counting->memory);
  return true;
}

// Ends it; `each` is told every operation with its calls, by name.
Totals counters_stop(void* state, void (*each)(void* state, const char* name, size_t length, uint64_t calls)) {
  std::unique_ptr<Counting> done = std::move(counting);
  if (!done) return {};
  done->guard.reset();
  at::removeCallback(done->callback);
  FLAGS_caffe2_log_level = done->log_level;
  for (const auto& [name, calls] : done->calls) each(state, name.data(), name.size(), calls);
  return {done->flops, done->memory->allocated, done->memory->peak};
}
}
