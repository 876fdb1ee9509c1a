#include "text/jinja/object.h"

#include "text/jinja/meter.h"

namespace zaya::text::jinja {
namespace {

// How deep destructors may nest before the rest is put off to the outermost one.
constexpr int kMaxNestedDisposals = 32;

thread_local int nested_disposals = 0;
thread_local Object* put_off = nullptr;

}  // namespace

Object::Object(size_t bytes) : bytes_(bytes), meter_(Meter::current()) {
  if (meter_) meter_->hold(bytes_);
}

Object::~Object() {
  if (meter_) meter_->release(bytes_);
}

void Object::grow(size_t bytes) {
  if (meter_) meter_->hold(bytes);
  bytes_ += bytes;
}

void Object::dispose(Object* object) {
  if (nested_disposals >= kMaxNestedDisposals) {
    object->next_dead_ = std::exchange(put_off, object);
    return;
  }
  ++nested_disposals;
  delete object;
  if (nested_disposals == 1) {
    while (Object* next = put_off) {
      put_off = next->next_dead_;
      delete next;
    }
  }
  --nested_disposals;
}

}  // namespace zaya::text::jinja
