// Shared ownership of the values that live on the heap, written for templates that try to hurt: every object is charged
// to the render's meter, and letting go of a long chain of objects does not recurse.
#pragma once

#include <atomic>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace zaya::text::jinja {

class Meter;

class Object {
 public:
  // Charges `bytes`, the object's approximate size, to the thread's current meter.
  explicit Object(size_t bytes);
  virtual ~Object();
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  void add_reference() const { references_.fetch_add(1, std::memory_order_relaxed); }
  void remove_reference() const {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) dispose(const_cast<Object*>(this));
  }

 protected:
  // The object has grown: charges `bytes` more.
  void grow(size_t bytes);

 private:
  static void dispose(Object* object);

  mutable std::atomic<size_t> references_{0};
  size_t bytes_;
  Meter* meter_;
  Object* next_dead_ = nullptr;  // links those whose end was put off
};

// A reference that keeps its object alive.
template <class T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(T* object) : object_(object) {
    if (object_) object_->add_reference();
  }
  Ref(const Ref& other) : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  template <class U, class = std::enable_if_t<std::is_convertible_v<U*, T*>>>
  Ref(const Ref<U>& other) : Ref(static_cast<T*>(other.get())) {}  // NOLINT: implicit as T* is
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_) object_->remove_reference();
  }

  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  T* object_ = nullptr;
};

template <class T, class... Args>
Ref<T> make_ref(Args&&... args) {
  return Ref<T>(new T(std::forward<Args>(args)...));
}

}  // namespace zaya::text::jinja
