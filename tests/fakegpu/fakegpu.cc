// A stand-in "GPU" for tests on a CPU-only machine: registers a device factory of type "GPU"
// (host memory) and, for every kernel that TensorFlow itself registers for GPU, a clone of higher
// priority which runs the CPU kernel.  The placer, the partitioner and the memory types are those of
// a real GPU build; the arithmetic is the CPU's.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tensorflow/core/common_runtime/copy_tensor.h"
#include "tensorflow/core/common_runtime/device_factory.h"
#include "tensorflow/core/common_runtime/dma_helper.h"
#include "tensorflow/core/common_runtime/gpu/gpu_util.h"
#include "tensorflow/core/common_runtime/local_device.h"
#include "tensorflow/core/framework/allocator.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/framework/kernel_def.pb.h"
#include "tensorflow/core/framework/node_properties.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/public/session_options.h"
#include "xla/stream_executor/platform.h"
#include "xla/stream_executor/platform_manager.h"
#include "xla/stream_executor/stream.h"
#include "xla/stream_executor/stream_executor.h"

namespace tensorflow {
namespace {

int DeviceCount() {
  const char* n = std::getenv("FAKE_GPU_COUNT");
  return n ? std::atoi(n) : 1;
}

void CopyAny(const Tensor* in, Tensor* out) {
  if (DataTypeCanUseMemcpy(in->dtype())) {
    if (in->TotalBytes())
      memcpy(DMAHelper::base(out), DMAHelper::base(in), in->TotalBytes());
  } else {
    *out = *in;
  }
}

class FakeContext : public DeviceContext {
 public:
  void CopyCPUTensorToDevice(const Tensor* c, Device*, Tensor* d,
                             StatusCallback done, bool) const override {
    CopyAny(c, d);
    done(absl::OkStatus());
  }
  void CopyTensorInSameDevice(const Tensor* i, Device*, Tensor* o,
                              StatusCallback done) const override {
    CopyAny(i, o);
    done(absl::OkStatus());
  }
  void CopyDeviceTensorToCPU(const Tensor* d, absl::string_view, Device*,
                             Tensor* c, StatusCallback done) override {
    CopyAny(d, c);
    done(absl::OkStatus());
  }
  absl::Status ThenExecute(Device*, stream_executor::Stream*,
                           std::function<void()> todo) override {
    todo();
    return absl::OkStatus();
  }
};

class FakeGpu : public LocalDevice {
 public:
  FakeGpu(const SessionOptions& o, const DeviceAttributes& a)
      : LocalDevice(o, a), context_(new FakeContext) {
    info_.default_context = context_;
    info_.gpu_id = 0;
    // XLA asks the stream for its platform: give it one of the host platform.
    auto platform = stream_executor::PlatformManager::PlatformWithName("Host");
    if (platform.ok()) {
      auto executor = (*platform)->ExecutorForDevice(0);
      if (executor.ok()) {
        auto stream = (*executor)->CreateStream();
        if (stream.ok()) stream_ = std::move(*stream);
      }
    }
    info_.stream = stream_.get();
    set_tensorflow_accelerator_device_info(&info_);
  }
  ~FakeGpu() override { context_->Unref(); }
  Allocator* GetAllocator(AllocatorAttributes) override {
    return cpu_allocator();
  }
  absl::Status Sync() override { return absl::OkStatus(); }
  absl::Status TryGetDeviceContext(DeviceContext** out) override {
    context_->Ref();
    *out = context_;
    return absl::OkStatus();
  }
  absl::Status MakeTensorFromProto(const TensorProto& p, AllocatorAttributes,
                                   Tensor* t) override {
    Tensor parsed(p.dtype());
    if (!parsed.FromProto(cpu_allocator(), p))
      return errors::InvalidArgument("cannot parse tensor proto");
    *t = parsed;
    return absl::OkStatus();
  }
  void CopyTensorInSameDevice(const Tensor* i, Tensor* o, const DeviceContext*,
                              StatusCallback done) override {
    CopyAny(i, o);
    done(absl::OkStatus());
  }

 private:
  FakeContext* context_;
  AcceleratorDeviceInfo info_;
  std::unique_ptr<stream_executor::Stream> stream_;
};

class FakeGpuFactory : public DeviceFactory {
 public:
  absl::Status ListPhysicalDevices(std::vector<std::string>* out) override {
    for (int i = 0; i < DeviceCount(); ++i)
      out->push_back("/physical_device:GPU:" + std::to_string(i));
    return absl::OkStatus();
  }
  absl::Status GetDeviceDetails(
      int, std::unordered_map<std::string, std::string>* d) override {
    (*d)["device_name"] = "fake GPU (host memory)";
    return absl::OkStatus();
  }
  absl::Status CreateDevices(
      const SessionOptions& options, const std::string& prefix,
      std::vector<std::unique_ptr<Device>>* devices) override {
    int n = DeviceCount();
    auto it = options.config.device_count().find("GPU");
    if (it != options.config.device_count().end()) n = std::min(n, it->second);
    for (int i = 0; i < n; ++i) {
      DeviceAttributes a = Device::BuildDeviceAttributes(
          prefix + "/device:GPU:" + std::to_string(i), DeviceType("GPU"),
          Bytes(1LL << 30), DeviceLocality(), "fake GPU (host memory)");
      devices->push_back(std::make_unique<FakeGpu>(options, a));
    }
    return absl::OkStatus();
  }
};

class CloneFactory : public kernel_factory::OpKernelFactory {
 public:
  OpKernel* Create(OpKernelConstruction* ctx) override {
    std::shared_ptr<const NodeProperties> props;
    const OpRegistryInterface* reg = OpRegistry::Global();
    if (ctx->function_library())
      reg = ctx->function_library()->GetFunctionLibraryDefinition();
    NodeDef node = ctx->def();
    // NCCL is a stub that crashes; the ring works on any device.
    auto hint = node.mutable_attr()->find("communication_hint");
    if (hint != node.mutable_attr()->end()) hint->second.set_s("ring");
    absl::Status s = NodeProperties::CreateFromNodeDef(node, reg, &props);
    OpKernel* k = nullptr;
    if (s.ok())
      s = CreateOpKernel(
          DeviceType("CPU"), ctx->device(), cpu_allocator(),
          ctx->function_library(),
          ctx->function_library() && ctx->function_library()->device()
              ? ctx->function_library()->device()->resource_manager()
              : nullptr,
          props, ctx->graph_def_version(), &k);
    if (!s.ok()) {
      ctx->SetStatus(s);
      return nullptr;
    }
    // Keep the memory types of the GPU registration.
    const_cast<MemoryTypeVector&>(k->input_memory_types()) =
        MemoryTypeVector(ctx->input_memory_types().begin(),
                         ctx->input_memory_types().end());
    const_cast<MemoryTypeVector&>(k->output_memory_types()) =
        MemoryTypeVector(ctx->output_memory_types().begin(),
                         ctx->output_memory_types().end());
    return k;
  }
};

// _CopyFromGpuToHost and _CopyFromHostToGpu exist for GPU only.
class PassOn : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override { c->set_output(0, c->input(0)); }
};
class PassOnFactory : public kernel_factory::OpKernelFactory {
 public:
  OpKernel* Create(OpKernelConstruction* c) override { return new PassOn(c); }
};

void CopyDeviceToDevice(DeviceContext*, DeviceContext*, Device*, Device*,
                        AllocatorAttributes, AllocatorAttributes,
                        const Tensor* in, Tensor* out, int,
                        StatusCallback done) {
  CopyAny(in, out);
  done(absl::OkStatus());
}

// CopyTensor's table of copy functions takes the first entry for a pair of device types, and TensorFlow's
// own GPU-to-GPU entry is already there: make that function jump to ours (x86-64).
void Redirect(void* from, void* to) {
  const long page = sysconf(_SC_PAGESIZE);
  auto start = reinterpret_cast<uintptr_t>(from) / page * page;
  mprotect(reinterpret_cast<void*>(start), 2 * page,
           PROT_READ | PROT_WRITE | PROT_EXEC);
  unsigned char code[12] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0};
  memcpy(code + 2, &to, 8);
  memcpy(from, code, sizeof code);
  mprotect(reinterpret_cast<void*>(start), 2 * page, PROT_READ | PROT_EXEC);
}

// Kernels that only a real GPU has (cuDNN's RNN, NCCL, FFTs): an error instead of a crash.
class Absent : public OpKernel {
 public:
  explicit Absent(OpKernelConstruction* c) : OpKernel(c) {
    c->SetStatus(errors::Unimplemented(c->def().op(),
                                       " needs a real GPU (stand-in device)"));
  }
  void Compute(OpKernelContext*) override {}
};
class AbsentFactory : public kernel_factory::OpKernelFactory {
 public:
  OpKernel* Create(OpKernelConstruction* c) override { return new Absent(c); }
};

int RegisterAll() {
  KernelList all = GetAllRegisteredKernels();
  std::set<std::string> cpu;
  for (const KernelDef& k : all.kernel())
    if (k.device_type() == "CPU" || k.device_type() == "DEFAULT")
      cpu.insert(k.op());
  int n = 0;
  for (const KernelDef& k : all.kernel()) {
    // Collectives are registered for any device and would pick NCCL on a GPU.
    bool collective = k.device_type() == "DEFAULT" && k.op().rfind("Collective", 0) == 0;
    if (k.device_type() != "GPU" && !collective) continue;
    bool copy = k.op() == "_CopyFromGpuToHost" || k.op() == "_CopyFromHostToGpu";
    auto* def = new KernelDef(k);
    def->set_priority(k.priority() + 1);
    def->set_device_type("GPU");
    std::unique_ptr<kernel_factory::OpKernelFactory> f;
    if (copy)
      f = std::make_unique<PassOnFactory>();
    else if (cpu.count(k.op()))
      f = std::make_unique<CloneFactory>();
    else
      f = std::make_unique<AbsentFactory>();
    kernel_factory::OpKernelRegistrar r(def, "FakeGpuClone", std::move(f));
    ++n;
  }
  DeviceFactory::Register("GPU", std::make_unique<FakeGpuFactory>(), 1000,
                          /*is_pluggable_device=*/false);
  Redirect(reinterpret_cast<void*>(&GPUUtil::DeviceToDeviceCopy),
           reinterpret_cast<void*>(&CopyDeviceToDevice));
  return n;
}

static int registered = RegisterAll();

}  // namespace
}  // namespace tensorflow
extern "C" int fake_gpu_registered() { return tensorflow::registered; }
