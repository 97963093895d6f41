# go_program(server GO 1.22 [STRIPPED] [PIE] [CGO] [SOURCE folder] [GENERATOR script])
#
# Builds a Go program with a pinned toolchain to build/<preset>/programs/go1.22/server, with -stripped and -pie added
# to its name. SOURCE is the module's folder, ${CMAKE_CURRENT_SOURCE_DIR}/<name> when not given; a GENERATOR is a Python
# script that writes such a folder. Part of the target
# `test_programs`, which is not in `all`: the CTest fixture `programs` builds it before the tests that need it.
# Without network the program is left out and <program>.skipped stands in its place.
function(go_program NAME)
  cmake_parse_arguments(PARSE_ARGV 1 G "STRIPPED;PIE;CGO" "GO;SOURCE;GENERATOR" "")
  if(NOT G_SOURCE)
    set(G_SOURCE ${CMAKE_CURRENT_SOURCE_DIR}/${NAME})
  endif()
  set(generate)
  if(G_GENERATOR)
    set(G_SOURCE ${PROJECT_BINARY_DIR}/programs/${NAME}-source)
    set(generate COMMAND /usr/bin/python3 ${G_GENERATOR} ${G_SOURCE})
  endif()
  set(program ${NAME})
  set(options)
  if(G_PIE)
    string(APPEND program -pie)
    list(APPEND options --pie)
  endif()
  if(G_STRIPPED)
    string(APPEND program -stripped)
    list(APPEND options --stripped)
  endif()
  if(G_CGO)
    list(APPEND options --cgo)
  endif()
  set(output ${PROJECT_BINARY_DIR}/programs/go${G_GO}/${program})
  file(GLOB sources CONFIGURE_DEPENDS ${G_SOURCE}/*.go ${G_SOURCE}/go.mod ${G_SOURCE}/go.sum)
  if(G_GENERATOR)
    set(sources ${G_GENERATOR})
  endif()
  add_custom_command(OUTPUT ${output}
    ${generate}
    COMMAND /usr/bin/python3 ${PROJECT_SOURCE_DIR}/tests/programs/build_program.py
      --go ${G_GO} --source ${G_SOURCE} --output ${output} ${options}
    DEPENDS ${sources} ${PROJECT_SOURCE_DIR}/tests/programs/build_program.py
      ${PROJECT_SOURCE_DIR}/tests/programs/toolchains.txt
    COMMENT "go${G_GO}/${program}" JOB_POOL go VERBATIM)
  set_property(GLOBAL APPEND PROPERTY SONDE_GO_PROGRAMS ${output})
endfunction()

# One at a time: the go command itself uses every core.
set_property(GLOBAL APPEND PROPERTY JOB_POOLS go=1)
