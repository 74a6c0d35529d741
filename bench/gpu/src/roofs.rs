//! What the device can do at most: copy and read its memory, multiply and add.

use crate::Result;
use crate::json::Object;
use bcnmf_core::backend::cuda::Gpu;
use cudarc::driver::sys::{CUdevice_attribute_enum as Attribute, CUevent_flags_enum};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, DevicePtr, DeviceRepr, LaunchConfig,
    PushKernelArg,
};
use cudarc::nvrtc::Ptx;
use std::sync::Arc;

/// Threads of a block, as in `roofs.cu`.
const THREADS: u32 = 256;
/// Multiplications with an addition of a thread in a round there.
const PER_ROUND: u64 = 16 * 16;
/// Each figure is the median of so many runs, after one that doesn't count.
const RUNS: usize = 11;
/// Arithmetic is timed over at least this long.
const LEAST_MS: f32 = 20.0;

#[repr(C)]
#[derive(Clone, Copy)]
struct Read {
    from: u64,
    sums: u64,
    count: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MultiplyAdd {
    sums: u64,
    factor: f32,
    addend: f32,
    rounds: u32,
}

// SAFETY: plain numbers in C layout, as roofs.cu declares them.
unsafe impl DeviceRepr for Read {}
// SAFETY: the same.
unsafe impl DeviceRepr for MultiplyAdd {}

/// Measured rates of a device, and what it is.
pub struct Roofs {
    pub device: String,
    pub capability: (i32, i32),
    pub cuda: (i32, i32),
    pub memory: usize,
    pub multiprocessors: i32,
    /// Bytes of the level-2 cache.
    pub cache: usize,
    /// Bytes a second, read and written ones alike.
    pub copied: f64,
    /// Bytes a second.
    pub read: f64,
    /// Floating-point operations a second: two for a multiplication with an addition.
    pub operations: f64,
}

impl Roofs {
    /// Measures, with two buffers of so many MiB.
    pub fn measure(mib: usize) -> Result<Self> {
        // First, as it says in words what is wrong with a driver or a GPU.
        let info = Gpu::open(0)?.info().clone();
        let context = CudaContext::new(0)?;
        // SAFETY: there is one stream only.
        unsafe { context.disable_event_tracking() };
        let bench = Bench {
            stream: context.new_stream()?,
            blocks: context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as u32
                * (2048 / THREADS),
        };
        let module = context.load_module(Ptx::from_src(include_str!("../ptx/roofs.ptx")))?;
        let (free, _) = context.mem_get_info()?;
        let bytes = (mib << 20).min(free / 4) / 16 * 16;
        let from = bench.noise(bytes)?;
        let copied = bench.copy_rate(&from)?;
        let read = bench.read_rate(&from, &module.load_function("read_all")?)?;
        let operations = bench.operation_rate(&module.load_function("multiply_add")?)?;
        drop(from);
        // Freed memory goes back to the device when the stream was waited for.
        bench.stream.synchronize()?;
        Ok(Roofs {
            device: info.name,
            capability: info.capability,
            cuda: info.driver,
            memory: info.memory,
            multiprocessors: context
                .attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            cache: context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)? as usize,
            copied,
            read,
            operations,
        })
    }

    /// What is compared with: the faster of copying and reading.
    pub fn bandwidth(&self) -> f64 {
        self.copied.max(self.read)
    }

    pub fn to_json(&self) -> Object {
        let version = |(major, minor)| format!("{major}.{minor}");
        Object::new("roofs")
            .text("device", &self.device)
            .text("capability", &version(self.capability))
            .text("cuda", &version(self.cuda))
            .number("memory_bytes", self.memory as f64)
            .number("multiprocessors", f64::from(self.multiprocessors))
            .number("cache_bytes", self.cache as f64)
            .number("copied_bytes_per_second", self.copied)
            .number("read_bytes_per_second", self.read)
            .number("flops_per_second", self.operations)
    }
}

struct Bench {
    stream: Arc<CudaStream>,
    /// That fill the device once.
    blocks: u32,
}

impl Bench {
    /// A buffer of numbers that don't repeat early: the same number over and over may move faster.
    fn noise(&self, bytes: usize) -> Result<CudaSlice<f32>> {
        let len = bytes / size_of::<f32>();
        // SAFETY: written below.
        let mut buffer = unsafe { self.stream.alloc::<f32>(len) }?;
        let mut state = 1u64;
        let part: Vec<f32> = (0..len.min(1 << 22))
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                (state >> 40) as f32
            })
            .collect();
        for from in (0..len).step_by(part.len()) {
            let count = part.len().min(len - from);
            let mut room = buffer.slice_mut(from..from + count);
            self.stream.memcpy_htod(&part[..count], &mut room)?;
        }
        Ok(buffer)
    }

    /// Milliseconds that the device takes for it.
    fn time(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<f32> {
        let flags = Some(CUevent_flags_enum::CU_EVENT_DEFAULT);
        let context = self.stream.context();
        let (begin, end) = (context.new_event(flags)?, context.new_event(flags)?);
        begin.record(&self.stream)?;
        work()?;
        end.record(&self.stream)?;
        Ok(begin.elapsed_ms(&end)?)
    }

    /// The median in seconds.
    fn median(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
        self.time(work)?;
        let mut all = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            all.push(self.time(work)?);
        }
        all.sort_by(f32::total_cmp);
        Ok(f64::from(all[RUNS / 2]) / 1e3)
    }

    fn copy_rate(&self, from: &CudaSlice<f32>) -> Result<f64> {
        // SAFETY: never read.
        let mut to = unsafe { self.stream.alloc::<f32>(from.len()) }?;
        let seconds = self.median(&mut || Ok(self.stream.memcpy_dtod(from, &mut to)?))?;
        Ok(2.0 * from.num_bytes() as f64 / seconds)
    }

    fn read_rate(&self, from: &CudaSlice<f32>, kernel: &CudaFunction) -> Result<f64> {
        let sums = self.sums()?;
        let arguments = Read {
            from: from.device_ptr(&self.stream).0,
            sums: sums.device_ptr(&self.stream).0,
            count: (from.len() / 4) as u64,
        };
        let seconds = self.median(&mut || self.launch(kernel, &arguments))?;
        Ok(from.num_bytes() as f64 / seconds)
    }

    fn operation_rate(&self, kernel: &CudaFunction) -> Result<f64> {
        let sums = self.sums()?;
        let mut arguments = MultiplyAdd {
            sums: sums.device_ptr(&self.stream).0,
            // Towards 1: neither large nor denormal.
            factor: 0.5,
            addend: 0.5,
            rounds: 1,
        };
        while self.time(&mut || self.launch(kernel, &arguments))? < LEAST_MS {
            arguments.rounds *= 2;
        }
        let seconds = self.median(&mut || self.launch(kernel, &arguments))?;
        let threads = u64::from(self.blocks) * u64::from(THREADS);
        Ok((2 * PER_ROUND * u64::from(arguments.rounds) * threads) as f64 / seconds)
    }

    /// Room for a number of each thread.
    fn sums(&self) -> Result<CudaSlice<f32>> {
        // SAFETY: never read.
        Ok(unsafe { self.stream.alloc((self.blocks * THREADS) as usize) }?)
    }

    fn launch<A: DeviceRepr>(&self, kernel: &CudaFunction, arguments: &A) -> Result<()> {
        let config = LaunchConfig {
            grid_dim: (self.blocks, 1, 1),
            block_dim: (THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = self.stream.launch_builder(kernel);
        launch.arg(arguments);
        // SAFETY: the kernel takes this structure; its addresses are of buffers that the caller keeps until it has
        // waited for the kernel, with as many values as it counts and a sum for each thread.
        unsafe { launch.launch(config) }?;
        Ok(())
    }
}
