# What `cmake --install` puts where: the program and its model, the public headers, and the package that
# find_package(zaya) finds. Included by the root after all rooms.
include(CMakePackageConfigHelpers)

# The library is a set of static archives, one per room. Only zaya::zaya is for users; the others follow it.
set(zaya_exported)
foreach(room base cpu checkpoint text ops model engine libzaya)
  list(APPEND zaya_exported zaya_${room})
endforeach()
set_target_properties(zaya_libzaya PROPERTIES EXPORT_NAME zaya OUTPUT_NAME zaya)
target_compile_features(zaya_libzaya INTERFACE cxx_std_20)

set(zaya_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/zaya)
install(TARGETS ${zaya_exported} EXPORT zayaTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/zaya
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT zayaTargets NAMESPACE zaya:: DESTINATION ${zaya_package_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/zayaConfig.cmake.in ${CMAKE_BINARY_DIR}/zayaConfig.cmake
                              INSTALL_DESTINATION ${zaya_package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/zayaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/zayaConfig.cmake ${CMAKE_BINARY_DIR}/zayaConfigVersion.cmake
        DESTINATION ${zaya_package_dir})

# The public header includes "base/status.h", which a compiler looks for beside it first.
install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/zaya DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${CMAKE_SOURCE_DIR}/src/base/status.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/zaya/base)

install(TARGETS zaya RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/models/nano DESTINATION ${CMAKE_INSTALL_DATADIR}/zaya/models)
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
