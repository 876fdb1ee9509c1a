# Puts the page into zaya_server: included by the room's CMakeLists.txt. embed.py gathers our files and the libraries of
# Debian's packages and writes one source; the bytes themselves go past the compiler.
option(ZAYA_PAGE "Carry the chat page in the program (needs libjs-katex, libjs-marked, node-dompurify)" ON)
set(ZAYA_PAGE_ROOT "/" CACHE PATH "Where usr/share/javascript/katex and its like are found")
find_program(ZAYA_PYTHON NAMES python3 REQUIRED)

set(page_directory ${CMAKE_CURRENT_BINARY_DIR}/page)
file(GLOB_RECURSE page_files CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.html ${CMAKE_CURRENT_LIST_DIR}/*.css
     ${CMAKE_CURRENT_LIST_DIR}/*.js ${CMAKE_CURRENT_LIST_DIR}/*.svg ${CMAKE_CURRENT_LIST_DIR}/*.webmanifest)
set(page_arguments --output ${page_directory} --root ${ZAYA_PAGE_ROOT})
if(NOT ZAYA_PAGE)
  list(APPEND page_arguments --empty)
endif()
add_custom_command(
  OUTPUT ${page_directory}/page_assets.cc ${page_directory}/page_assets.bin
  COMMAND ${ZAYA_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/embed.py ${page_arguments}
  DEPENDS ${CMAKE_CURRENT_LIST_DIR}/embed.py ${page_files}
  DEPFILE ${page_directory}/page_assets.d
  COMMENT "Gathering the chat page"
  VERBATIM)
set_source_files_properties(${page_directory}/page_assets.cc PROPERTIES OBJECT_DEPENDS ${page_directory}/page_assets.bin)
target_sources(zaya_server PRIVATE ${page_directory}/page_assets.cc)
