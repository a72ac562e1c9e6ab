// Freed results kept for the next ones: a fresh large result costs more in page faults than the
// arithmetic that fills it.
#pragma once

#include <cstddef>

namespace kernel {

constexpr std::size_t SMALLEST_KEPT = std::size_t{1} << 20;  // smaller ones are the allocator's

// Memory of at least `bytes`, in huge pages where the system has them; null where there is none.
void* take_buffer(std::size_t bytes);

// Gives back what take_buffer gave. Kept for reuse while all that is kept stays within the limit.
void give_buffer(void* memory);

// Most bytes kept while nobody uses them; what is above is returned to the system at once.
void set_buffer_limit(std::size_t bytes);
std::size_t buffers_kept();

}  // namespace kernel
