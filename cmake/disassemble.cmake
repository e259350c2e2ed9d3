# Sets `code` to the instructions of the object of one source file among OBJECTS (a.o,b.o), found by
# OBJDUMP.
function(disassemble file)
  string(REPLACE "," ";" objects "${OBJECTS}")
  string(REPLACE "." "\\." pattern "/${file}")
  list(FILTER objects INCLUDE REGEX "${pattern}")
  if(NOT objects)
    message(FATAL_ERROR "no object of ${file} in ${OBJECTS}")
  endif()
  execute_process(COMMAND ${OBJDUMP} -d --no-show-raw-insn ${objects} OUTPUT_VARIABLE code
                  COMMAND_ERROR_IS_FATAL ANY)
  set(code "${code}" PARENT_SCOPE)
endfunction()
