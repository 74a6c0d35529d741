//! The driver: devices, memory, launches. All unsafe code of this crate is here.
#![allow(unsafe_code)]

use super::kernels::{
    Arguments, CellStep, FeatureSums, Module, Scale, SumParts, Totals, Transpose, WStep, Zeros,
};
use super::refused;
use crate::{Error, Result};
use cudarc::driver::result::device;
use cudarc::driver::sys::{CUdevice_attribute_enum as Attribute, CUresult, cuDriverGetVersion};
use cudarc::driver::{
    CudaContext, CudaEvent, CudaFunction, CudaModule, CudaSlice, CudaStream, DevicePtr, DeviceRepr,
    DriverError, LaunchConfig, PinnedHostSlice, PushKernelArg, ValidAsZeroBits, result, sys,
};
use cudarc::nvrtc::Ptx;
use std::any::Any;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

macro_rules! representable {
    ($($type:ident)*) => {$(
        // SAFETY: plain numbers in C layout, as the kernels declare them (a test compares the sizes).
        unsafe impl DeviceRepr for $type {}
    )*};
}
representable!(CellStep FeatureSums Zeros Totals WStep SumParts Scale Transpose);

/// A GPU that the driver knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// What it is called.
    pub name: String,
    /// Compute capability, major and minor.
    pub capability: (i32, i32),
    /// Its memory, bytes.
    pub memory: usize,
    /// The newest version of CUDA that the driver knows, major and minor.
    pub driver: (i32, i32),
}

impl DeviceInfo {
    /// What is said of a GPU that the kernels are not made for.
    pub fn too_old(&self) -> Option<String> {
        let ((major, minor), (least, _)) = (self.capability, LEAST_CAPABILITY);
        (self.capability < LEAST_CAPABILITY).then(|| {
            format!("has compute capability {major}.{minor}; {least}.0 (Volta, 2017) is the least")
        })
    }
}

/// The least that the PTX is made for.
const LEAST_CAPABILITY: (i32, i32) = (7, 0);

/// The GPUs of this machine.
///
/// # Errors
/// Why none can be used: no driver, one that is too old, or no GPU.
pub fn devices() -> Result<Vec<DeviceInfo>> {
    guarded(|| {
        let mut version = 0;
        // SAFETY: the driver was initialised; it writes one number.
        unsafe { cuDriverGetVersion(&mut version) }.result()?;
        let driver = (version / 1000, version % 1000 / 10);
        (0..device::get_count()?)
            .map(|ordinal| {
                let gpu = device::get(ordinal)?;
                // SAFETY: a device that the driver has just named.
                let (memory, major, minor) = unsafe {
                    (
                        device::total_mem(gpu)?,
                        device::get_attribute(
                            gpu,
                            Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                        )?,
                        device::get_attribute(
                            gpu,
                            Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                        )?,
                    )
                };
                Ok(DeviceInfo {
                    name: device::get_name(gpu)?,
                    capability: (major, minor),
                    memory,
                    driver,
                })
            })
            .collect()
    })
}

/// Calls the driver, if there is one: without it, cudarc's calls panic.
fn guarded<T>(call: impl FnOnce() -> std::result::Result<T, DriverError>) -> Result<T> {
    // The driver does not survive a fork.
    static PROCESS: OnceLock<u32> = OnceLock::new();
    // SAFETY: loading the driver's library runs its constructors, as any program that uses it does.
    if !unsafe { sys::is_culib_present() } {
        return Err(refused("there is no NVIDIA driver on this machine"));
    }
    if *PROCESS.get_or_init(process::id) != process::id() {
        return Err(refused(
            "this process was forked from one that has used it; start workers as new processes",
        ));
    }
    let called = catch_unwind(AssertUnwindSafe(|| {
        result::init()?;
        call()
    }));
    match called {
        Ok(done) => done.map_err(failed),
        Err(_) => Err(refused("the NVIDIA driver lacks functions of CUDA 12")),
    }
}

/// A driver's error in a user's words.
fn failed(error: DriverError) -> Error {
    let why = match error.0 {
        CUresult::CUDA_ERROR_NO_DEVICE => "the NVIDIA driver finds no GPU".into(),
        CUresult::CUDA_ERROR_INVALID_PTX | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => {
            "the NVIDIA driver is too old; 525.60 is the first that will do".into()
        }
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => "it is out of memory".into(),
        other => {
            let text = error
                .error_string()
                .ok()
                .and_then(|text| text.to_str().ok());
            match text {
                Some(text) => format!("the NVIDIA driver says \"{text}\""),
                None => format!("the NVIDIA driver says {other:?}"),
            }
        }
    };
    refused(why)
}

/// A GPU in use.
#[derive(Debug)]
pub struct Gpu {
    context: Arc<CudaContext>,
    info: DeviceInfo,
    modules: Mutex<HashMap<&'static str, Arc<CudaModule>>>,
}

impl Gpu {
    /// The GPU of this number, from 0. Once opened it stays so: its kernels are compiled once in a process.
    ///
    /// # Errors
    /// As [`devices`]; no such GPU; one that is too old.
    pub fn open(ordinal: usize) -> Result<Arc<Gpu>> {
        static OPEN: Mutex<Vec<Option<Arc<Gpu>>>> = Mutex::new(Vec::new());
        let devices = devices()?;
        let number = devices.len();
        let Some(info) = devices.into_iter().nth(ordinal) else {
            return Err(refused(format!(
                "there is no GPU number {}, but {number}",
                ordinal + 1
            )));
        };
        if let Some(why) = info.too_old() {
            return Err(refused(format!("{} {why}", info.name)));
        }
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let known = open.len();
        open.resize(known.max(number), None);
        if let Some(gpu) = &open[ordinal] {
            return Ok(gpu.clone());
        }
        let context = guarded(|| CudaContext::new(ordinal))?;
        // SAFETY: every queue here waits for what it needs of another by events of our own.
        unsafe { context.disable_event_tracking() };
        let gpu = Arc::new(Gpu {
            context,
            info,
            modules: Mutex::default(),
        });
        open[ordinal] = Some(gpu.clone());
        Ok(gpu)
    }

    /// What it is.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Free memory, bytes, after what was given back has been.
    pub(super) fn free(&self) -> Result<usize> {
        self.context.synchronize().map_err(failed)?;
        if self.context.has_async_alloc() {
            // SAFETY: the pool is the device's own, and gives back only what nobody holds.
            unsafe {
                let pool = device::get_default_mem_pool(self.context.cu_device());
                pool.and_then(|pool| result::mem_pool::trim_to(pool, 0))
                    .map_err(failed)?;
            }
        }
        Ok(self.context.mem_get_info().map_err(failed)?.0)
    }

    /// Makes it the one that this thread's calls are for.
    pub(super) fn bind(&self) {
        // The next call that matters tells what is wrong.
        let _ = self.context.bind_to_thread();
    }

    /// A kernel of a module, which is compiled when it is used for the first time.
    pub(super) fn kernel<A: Arguments>(&self, module: Module, name: &str) -> Result<Kernel<A>> {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = match modules.get(module.name) {
            Some(loaded) => loaded.clone(),
            None => {
                let loaded = self
                    .context
                    .load_module(Ptx::from_src(module.ptx()))
                    .map_err(failed)?;
                modules.insert(module.name, loaded.clone());
                loaded
            }
        };
        Ok(Kernel {
            function: loaded.load_function(name).map_err(failed)?,
            arguments: PhantomData,
        })
    }

    /// An event for queues to wait for.
    pub(super) fn event(&self) -> Result<CudaEvent> {
        self.context.new_event(None).map_err(failed)
    }

    /// Memory of this machine that the device copies from by itself, of zeros.
    pub(super) fn pinned<T: DeviceRepr + ValidAsZeroBits>(&self, len: usize) -> Result<Pinned<T>> {
        // SAFETY: it is written before it is read.
        let memory = unsafe { self.context.alloc_pinned_with_flags(len.max(1), 0) };
        memory.map(Pinned).map_err(failed)
    }
}

/// A kernel that takes `A`.
pub struct Kernel<A> {
    function: CudaFunction,
    arguments: PhantomData<fn(A)>,
}

/// Pinned memory.
pub struct Pinned<T>(PinnedHostSlice<T>);

impl<T: ValidAsZeroBits> Pinned<T> {
    /// To be written.
    pub fn values(&mut self) -> Result<&mut [T]> {
        self.0.as_mut_slice().map_err(failed)
    }
}

/// Numbers on the device.
pub struct Buffer<T> {
    slice: CudaSlice<T>,
    len: usize,
}

impl<T> Buffer<T> {
    /// Where entry `at` is.
    pub fn at(&self, at: usize) -> u64 {
        debug_assert!(at <= self.len);
        let (address, _) = self.slice.device_ptr(self.slice.stream());
        address + (at * size_of::<T>()) as u64
    }

    /// Where it begins.
    pub fn start(&self) -> u64 {
        self.at(0)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }
}

/// What is done on a device one after the other.
pub struct Queue {
    gpu: Arc<Gpu>,
    stream: Arc<CudaStream>,
    /// What copies may still be reading.
    kept: Mutex<Vec<Box<dyn Any + Send>>>,
}

impl Queue {
    pub fn new(gpu: &Arc<Gpu>) -> Result<Self> {
        Ok(Queue {
            stream: gpu.context.new_stream().map_err(failed)?,
            gpu: gpu.clone(),
            kept: Mutex::default(),
        })
    }

    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Room for so many numbers, of any value.
    pub fn room<T: DeviceRepr>(&self, len: usize, what: &'static str) -> Result<Buffer<T>> {
        // SAFETY: whoever asks for room writes it before it is read.
        let slice = unsafe { self.stream.alloc::<T>(len.max(1)) };
        match slice {
            Ok(slice) => {
                let buffer = Buffer { slice, len };
                if cfg!(debug_assertions) {
                    self.poison(&buffer)?;
                }
                Ok(buffer)
            }
            Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => Err(Error::DeviceMemory {
                what,
                needed: len * size_of::<T>(),
                free: self.gpu.context.mem_get_info().map_or(0, |(free, _)| free),
            }),
            Err(other) => Err(failed(other)),
        }
    }

    /// Fills a new buffer with what is not a number, so that tests notice what was not written.
    fn poison<T>(&self, buffer: &Buffer<T>) -> Result<()> {
        let bytes = buffer.slice.num_bytes();
        // SAFETY: all of a buffer that nobody else knows.
        let done = unsafe {
            result::memset_d8_async(buffer.start(), 0xff, bytes, self.stream.cu_stream())
        };
        done.map_err(failed)
    }

    /// All to zero.
    pub fn clear<T: DeviceRepr + ValidAsZeroBits>(&self, buffer: &mut Buffer<T>) -> Result<()> {
        self.stream.memset_zeros(&mut buffer.slice).map_err(failed)
    }

    /// A copy on the device.
    pub fn upload<T: DeviceRepr + Send + 'static>(
        &self,
        values: Vec<T>,
        what: &'static str,
    ) -> Result<Buffer<T>> {
        let mut buffer = self.room(values.len(), what)?;
        self.write(values, &mut buffer)?;
        Ok(buffer)
    }

    /// Copies to the first places of a buffer.
    pub fn write<T: DeviceRepr + Send + 'static>(
        &self,
        values: Vec<T>,
        to: &mut Buffer<T>,
    ) -> Result<()> {
        let copied = self.copy(&values, to);
        // How long the driver reads them is not said for all machines.
        self.kept().push(Box::new(values));
        copied
    }

    fn copy<T: DeviceRepr>(&self, values: &[T], to: &mut Buffer<T>) -> Result<()> {
        assert!(values.len() <= to.len);
        if values.is_empty() {
            return Ok(());
        }
        let copied = self.stream.memcpy_htod(values, &mut to.slice);
        copied.map_err(failed)
    }

    /// The same of the first of pinned values, which must stay as they are until the queue has come there.
    pub fn write_pinned<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        values: &mut Pinned<T>,
        count: usize,
        to: &mut Buffer<T>,
    ) -> Result<()> {
        self.copy(&values.values()?[..count], to)
    }

    /// All values, after what was asked for was done.
    pub fn read<T: DeviceRepr + Clone + Default>(&self, from: &Buffer<T>) -> Result<Vec<T>> {
        self.read_first(from, from.len)
    }

    /// The first of them.
    pub fn read_first<T: DeviceRepr + Clone + Default>(
        &self,
        from: &Buffer<T>,
        count: usize,
    ) -> Result<Vec<T>> {
        let mut values = vec![T::default(); count];
        if count > 0 {
            let copied = (self.stream).memcpy_dtoh(&from.slice.slice(..count), &mut values);
            copied.map_err(failed)?;
        }
        self.wait()?;
        Ok(values)
    }

    /// Runs a kernel.
    pub fn launch<A: Arguments + DeviceRepr>(
        &self,
        kernel: &Kernel<A>,
        blocks: [u32; 2],
        threads: u32,
        arguments: &A,
    ) -> Result<()> {
        let [x, y] = blocks;
        if x == 0 || y == 0 {
            return Ok(());
        }
        let config = LaunchConfig {
            grid_dim: (x, y, 1),
            block_dim: (threads, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = self.stream.launch_builder(&kernel.function);
        launch.arg(arguments);
        // SAFETY: the kernel takes one structure of this type; the addresses in it are of buffers that their owners
        // keep until the queue was waited for, with as many values as it counts.
        unsafe { launch.launch(config) }.map_err(failed)?;
        Ok(())
    }

    /// Notes how far the queue is.
    pub fn record(&self, event: &CudaEvent) -> Result<()> {
        event.record(&self.stream).map_err(failed)
    }

    /// What comes next waits for an event of another queue.
    pub fn after(&self, event: &CudaEvent) -> Result<()> {
        self.stream.wait(event).map_err(failed)
    }

    /// Until all is done.
    pub fn wait(&self) -> Result<()> {
        self.stream.synchronize().map_err(failed)?;
        self.kept().clear();
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Box<dyn Any + Send>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Nothing may be in work on buffers that are given back. A device that has failed does not work.
        let _ = self.wait();
    }
}

/// Waits, here, until a queue has come to an event.
pub fn wait_for(event: &CudaEvent) -> Result<()> {
    event.synchronize().map_err(failed)
}
