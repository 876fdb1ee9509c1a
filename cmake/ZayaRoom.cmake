# Compiler settings that every room shares, and the one function that declares a room.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

add_library(zaya_settings INTERFACE)
# Designated initializers leave the other members at their defaults on purpose.
target_compile_options(zaya_settings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
                                               -Wno-missing-field-initializers -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 reports these inside its own standard library and intrinsics at -O2 and above.
  target_compile_options(zaya_settings INTERFACE -Wno-restrict -Wno-maybe-uninitialized -Wno-uninitialized -Wno-stringop-overflow -Wno-stringop-overread
                                                 -Wno-array-bounds)
endif()
target_include_directories(zaya_settings INTERFACE ${CMAKE_SOURCE_DIR}/src)
if(ZAYA_EMULATE)
  target_compile_definitions(zaya_settings INTERFACE ZAYA_EMULATE)
endif()
if(ZAYA_SANITIZE)
  target_compile_options(zaya_settings INTERFACE -fsanitize=${ZAYA_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(zaya_settings INTERFACE -fsanitize=${ZAYA_SANITIZE})
endif()
if(ZAYA_FUZZ)
  # Coverage feedback for the whole tree; only the fuzz targets link libFuzzer's main.
  target_compile_options(zaya_settings INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Headers that many files read and that take longer to read than the file itself. Off in the sanitizer and fuzz presets,
# whose builds so find a file that forgot an include.
option(ZAYA_PCH "Precompile the headers that many files read" ON)
if(ZAYA_PCH AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(zaya_settings INTERFACE -fpch-preprocess)  # without it ccache cannot follow
endif()
# For code that runs once, and for tests: optimising them was half of the build.
set(ZAYA_QUICK_COMPILE $<$<CONFIG:Release>:-O1>)

# zaya_precompiled(<name> LIBS <libraries…> HEADERS <headers…>): a set that targets with the same compile options share
# through zaya_precompile(<target> <name>).
function(zaya_precompiled name)
  cmake_parse_arguments(SET "" "" "LIBS;HEADERS;OPTIONS" ${ARGN})
  if(ZAYA_PCH)
    file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/${name}.cc CONTENT "")
    add_library(${name} OBJECT ${CMAKE_BINARY_DIR}/${name}.cc)
    target_link_libraries(${name} PRIVATE zaya_settings ${SET_LIBS})
    target_compile_options(${name} PRIVATE ${SET_OPTIONS})
    target_precompile_headers(${name} PRIVATE ${SET_HEADERS})
  endif()
endfunction()
function(zaya_precompile target name)
  if(ZAYA_PCH)
    target_precompile_headers(${target} REUSE_FROM ${name})
  endif()
endfunction()

# zaya_room(<name> DEPENDS <rooms…> LIBS <external libraries…>)
#
# A room is the folder that calls this: its *.cc make the library zaya_<name>, its *_test.cc make the test program
# <name>_test, its *_bench.cc <name>_bench (with ZAYA_BENCHMARKS), and each of its *_fuzz.cc one fuzz target (with
# ZAYA_FUZZ). Not in it: main.cc and *_isa.cc, which the room builds by itself.
function(zaya_room name)
  cmake_parse_arguments(ROOM "" "" "DEPENDS;LIBS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS "*.cc" "*/*.cc")
  set(tests ${sources})
  set(benchmarks ${sources})
  set(fuzzers ${sources})
  list(FILTER sources EXCLUDE REGEX "(_(test|fuzz|isa|bench)|/main)\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")
  list(FILTER benchmarks INCLUDE REGEX "_bench\\.cc$")

  add_library(zaya_${name} STATIC ${sources})
  list(TRANSFORM ROOM_DEPENDS PREPEND zaya_)
  target_link_libraries(zaya_${name} PUBLIC ${ROOM_DEPENDS} ${ROOM_LIBS} PRIVATE $<BUILD_INTERFACE:zaya_settings>)
  set_target_properties(zaya_${name} PROPERTIES LINKER_LANGUAGE CXX)
  if("nlohmann_json::nlohmann_json" IN_LIST ROOM_LIBS)
    zaya_precompile(zaya_${name} zaya_json_headers)
  endif()

  if(ZAYA_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE zaya_${name} zaya_settings GTest::gmock GTest::gtest_main)
    target_compile_definitions(${name}_test PRIVATE ZAYA_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    target_compile_options(${name}_test PRIVATE ${ZAYA_QUICK_COMPILE})
    zaya_precompile(${name}_test zaya_test_headers)
    add_test(NAME ${name} COMMAND ${name}_test)
  endif()
  if(ZAYA_BENCHMARKS AND benchmarks)
    add_executable(${name}_bench ${benchmarks})
    target_link_libraries(${name}_bench PRIVATE zaya_${name} zaya_settings benchmark::benchmark_main)
  endif()
  if(ZAYA_FUZZ)
    foreach(fuzzer ${fuzzers})
      get_filename_component(target ${fuzzer} NAME_WE)
      add_executable(${target} ${fuzzer})
      target_link_libraries(${target} PRIVATE zaya_${name} zaya_settings)
      target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    endforeach()
  endif()
endfunction()
