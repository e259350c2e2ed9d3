# Installs the library, its headers and what finds them: a CMake package and a pkg-config file, both
# relocatable. Two layouts share this code: inside a wheel everything lives under striate/, so that
# it sits next to the Python package; elsewhere GNUInstallDirs decides.
if(SKBUILD)
  set(striate_libdir striate/lib)
  set(striate_includedir striate/include)
  # No VERSION here: a wheel cannot hold symbolic links, so each name would be another copy.
else()
  set(striate_libdir ${CMAKE_INSTALL_LIBDIR})
  set(striate_includedir ${CMAKE_INSTALL_INCLUDEDIR})
  set_target_properties(striate PROPERTIES VERSION ${PROJECT_VERSION}
                                           SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
endif()
set(striate_cmakedir ${striate_libdir}/cmake/striate)

install(TARGETS striate EXPORT striateTargets
        LIBRARY DESTINATION ${striate_libdir}
        ARCHIVE DESTINATION ${striate_libdir}
        INCLUDES DESTINATION ${striate_includedir})
install(DIRECTORY include/striate DESTINATION ${striate_includedir} FILES_MATCHING PATTERN "*.h")
install(EXPORT striateTargets NAMESPACE striate:: DESTINATION ${striate_cmakedir})

configure_package_config_file(cmake/striateConfig.cmake.in striateConfig.cmake
                              INSTALL_DESTINATION ${striate_cmakedir}
                              NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(striateConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/striateConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/striateConfigVersion.cmake
        DESTINATION ${striate_cmakedir})

# The paths in striate.pc are relative to the file itself.
cmake_path(ABSOLUTE_PATH striate_libdir BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX}
           OUTPUT_VARIABLE striate_full_libdir)
cmake_path(ABSOLUTE_PATH striate_includedir BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX}
           OUTPUT_VARIABLE striate_full_includedir)
file(RELATIVE_PATH striate_pc_includedir ${striate_full_libdir}/pkgconfig
     ${striate_full_includedir})
configure_file(cmake/striate.pc.in striate.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/striate.pc DESTINATION ${striate_libdir}/pkgconfig)
