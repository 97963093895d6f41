# module(agent_plan DEPENDS agent_process PRIVATE PkgConfig::libelf)
#
# Makes this folder a library and its tests: every *.cpp is part of `agent_plan`, every *_test.cpp of
# `agent_plan_test` (label unit). DEPENDS are the modules and libraries that its headers may use, PRIVATE
# those that only its bodies use. A folder may include nothing else of ours: tests/tidy reads the declared
# edges and holds the #include lines against them.
add_library(sonde_warnings INTERFACE)
target_compile_options(sonde_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough -Wno-missing-field-initializers
  $<$<BOOL:${SONDE_WERROR}>:-Werror>)

add_custom_target(unit_tests) # builds those that sit beside the code

function(module NAME)
  cmake_parse_arguments(PARSE_ARGV 1 M "" "" "DEPENDS;PRIVATE")
  file(GLOB sources CONFIGURE_DEPENDS *.cpp)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  if(sources)
    add_library(${NAME} STATIC ${sources})
    target_include_directories(${NAME} PUBLIC ${PROJECT_SOURCE_DIR})
    target_link_libraries(${NAME} PUBLIC ${M_DEPENDS} PRIVATE ${M_PRIVATE} sonde_warnings)
  else()
    add_library(${NAME} INTERFACE)
    target_include_directories(${NAME} INTERFACE ${PROJECT_SOURCE_DIR})
    target_link_libraries(${NAME} INTERFACE ${M_DEPENDS})
  endif()
  file(RELATIVE_PATH folder ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  set_property(GLOBAL APPEND_STRING PROPERTY SONDE_EDGES "${folder}|${NAME}|${M_DEPENDS};${M_PRIVATE}\n")
  if(tests AND BUILD_TESTING)
    add_executable(${NAME}_test ${tests})
    target_link_libraries(${NAME}_test PRIVATE ${NAME} ${M_PRIVATE} sonde_warnings GTest::gmock GTest::gtest_main)
    add_dependencies(unit_tests ${NAME}_test)
    add_sonde_test(${NAME}_test LABEL unit COMMAND ${NAME}_test)
  endif()
endfunction()

# A test binary or script as one CTest entry; its cases are counted from the XML it writes
# (tools/test_summary.py). TIMEOUT in seconds, 120 when not given.
function(add_sonde_test NAME)
  cmake_parse_arguments(PARSE_ARGV 1 T "" "LABEL;TIMEOUT" "COMMAND;ENVIRONMENT;FIXTURES")
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 120)
  endif()
  add_test(NAME ${NAME} COMMAND ${T_COMMAND})
  set_tests_properties(${NAME} PROPERTIES
    LABELS "${T_LABEL}" TIMEOUT ${T_TIMEOUT}
    ENVIRONMENT "GTEST_OUTPUT=xml:${PROJECT_BINARY_DIR}/test-results/${NAME}.xml;SONDE_BUILD_DIR=${PROJECT_BINARY_DIR};SONDE_SOURCE_DIR=${PROJECT_SOURCE_DIR};SONDE_TEST_XML=${PROJECT_BINARY_DIR}/test-results/${NAME}.xml;TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.suppressions;${T_ENVIRONMENT}")
  if(T_FIXTURES)
    set_tests_properties(${NAME} PROPERTIES FIXTURES_REQUIRED "${T_FIXTURES}")
  endif()
endfunction()

# Written at the end of configuration, for tests/tidy.
function(write_declared_edges)
  get_property(edges GLOBAL PROPERTY SONDE_EDGES)
  file(WRITE ${PROJECT_BINARY_DIR}/declared_edges.txt "${edges}")
endfunction()
cmake_language(DEFER DIRECTORY ${PROJECT_SOURCE_DIR} CALL write_declared_edges)
